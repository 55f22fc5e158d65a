import type { Core } from './client.js';
import { isBehind } from './cursor.js';
import type { Batch, RawFrame, Schema, StreamError, StreamEvent } from './types.js';

type AnyHandler = (event: StreamEvent) => unknown;

/** Calls what others have written, and reports what it throws. */
export type Guard = <T>(what: string, action: () => T | Promise<T>) => Promise<T | undefined>;

/** Hands events over to whoever waits for them. */
export interface Delivery {
  /** The id up to which all handlers have returned. */
  cursor: string | null;
  on(pattern: string, handler: AnyHandler): () => void;
  types(): string[];
  deliver(batch: Pick<Batch, 'frames' | 'live'>): Promise<void>;
}

/** How long handlers run before the page gets its turn, in milliseconds. */
const sliceMs = 12;

/** Waits until the page has had its turn: a timer takes longer, in a hidden tab a whole second. */
const breathe = (): Promise<void> =>
  (globalThis as { scheduler?: { yield?(): Promise<void> } }).scheduler?.yield?.() ??
    new Promise((resolve) => setTimeout(resolve));

/** Checks a value against a schema; throws what is wrong with it. */
function validate<T>(schema: Schema<T>, input: unknown): T {
  if (typeof schema === 'function') return schema(input);
  const result = schema['~standard'].validate(input);
  // A promise, which would let later events overtake this one, has no value either.
  if (!('value' in result)) throw new Error(JSON.stringify(result));
  return result.value;
}

/** Creates a delivery that has nothing yet. */
export function createDelivery(core: Core): Delivery {
  const { clock, options, guard, status } = core;
  const handlers = new Set<{ pattern: string; handler: AnyHandler }>();
  let lastEventAt: number | null = null;
  const call = (action: () => unknown) => void guard('a handler', action);

  const moved = () => {
    const lastEventId = delivery.cursor;
    if (lastEventId && lastEventId !== status.get().lastEventId) {
      void guard('cursor.save', () => options.cursor?.save(lastEventId));
    }
    status.set({ lastEventId, lastEventAt });
  };

  const refuse = (frame: RawFrame, cause: unknown) => {
    const { onInvalid } = options;
    const error: StreamError = {
      code: frame.oversize ? 'oversize' : 'invalid-event',
      message: `${frame.type} ${frame.id}: ${cause}`,
      cause,
    };
    if (onInvalid === 'error') core.end(error);
    else if (typeof onInvalid === 'function') call(() => onInvalid(frame, error));
    else core.log({ level: 'warn', text: error.message, cause });
  };

  const hand = (frame: RawFrame, replayed: boolean) => {
    const { type, id } = frame;
    // What the service says of the stream itself reaches only who names it.
    const found = [...handlers].filter(({ pattern }) =>
      pattern === type ||
      (!type.startsWith('stream.') && pattern.endsWith('*') &&
        type.startsWith(pattern.slice(0, -1)))
    );
    if (frame.oversize) return refuse(frame, 'oversize');
    if (!found.length) return;
    const schema = options.schemas?.[type];
    let data: unknown;
    try {
      data = JSON.parse(frame.data);
      if (schema) data = validate(schema, data);
    } catch (cause) {
      return refuse(frame, cause);
    }
    const event: StreamEvent = { type, id, data, receivedAt: clock.now(), replayed };
    for (const { handler } of found) call(() => handler(event));
  };

  const delivery: Delivery = {
    cursor: null,
    on(pattern, handler) {
      const entry = { pattern, handler };
      handlers.add(entry);
      return () => handlers.delete(entry);
    },
    types: () => [...handlers].map(({ pattern }) => pattern),
    async deliver({ frames, live }) {
      const { run } = core;
      let isLive = live;
      let from = clock.now();
      for (const frame of frames) {
        if (core.run !== run) break;
        const { type, hasId, id } = frame;
        const isControl = type.startsWith('stream.');
        const isNew = !hasId || isBehind(id, delivery.cursor);
        isLive ||= type === 'stream.live';
        if (!isControl) {
          if (!isNew) continue;
          // The id of the event before is not its own.
          if (!hasId) frame.id = '';
          lastEventAt = clock.now();
        }
        hand(frame, !isLive);
        // With a reset, what this client holds is void: its id too, which may be ahead of the log.
        if (hasId && (isNew || type === 'stream.reset')) delivery.cursor = id || null;
        if (clock.now() - from < sliceMs) continue;
        moved();
        await breathe();
        from = clock.now();
      }
      moved();
    },
  };
  return delivery;
}
