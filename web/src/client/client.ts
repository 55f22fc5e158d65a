import { connect, type Connection } from './connection.js';
import { isBehind } from './cursor.js';
import { createDelivery, type Delivery, type Guard } from './delivery.js';
import type { Tabs } from './page.js';
import { createStatus, type StatusStore } from './status.js';
import { keepToken, type Tokens } from './token.js';
import type {
  Batch,
  ClientOptions,
  Clock,
  EventsOptions,
  LogEntry,
  StreamClient,
  StreamError,
  StreamEvent,
  StreamGap,
} from './types.js';

/** What the parts of a client share. */
export interface Core {
  options: ClientOptions<any>;
  clock: Clock;
  random: () => number;
  fetch: typeof fetch;
  log(entry: LogEntry): void;
  guard: Guard;
  status: StatusStore;
  tokens: Tokens;
  delivery: Delivery;
  /** Counted up with every start and stop: what belongs to an earlier one ends. */
  run: number;
  isOpen: boolean;
  /** This tab's stream. */
  connection: Connection | null;
  /** The tabs with which it is shared. */
  tabs: Tabs | null;
  /** Where to begin without an id. */
  since: string;
  /** With all filters in the query; empty where there is no history. */
  historyUrl: string;
  /** How many batches wait to be dealt with. */
  waiting: number;
  /** A URL with all filters in its query, and more. */
  urlOf(path: string, more?: Record<string, string>): string;
  accept(batch: Batch, isFresh: boolean): Promise<unknown>;
  /** Opens a stream, from an id that other tabs know if that is further. */
  lead(role: 'solo' | 'leader', heard: string | null): void;
  start(): Promise<void>;
  suspend(): void;
  /** Closes the client. */
  end(error: StreamError | null): void;
}

const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as number),
};

const writeLog = (entry: LogEntry) => console[entry.level](entry);

/**
 * Creates a stream of events that mends itself; `open` starts it.
 *
 * ```ts
 * const stream = createStream({ url: '/api/v1/events/stream' });
 * stream.on('task.status-changed', ({ data }) => show(data));
 * stream.open();
 * ```
 */
export function createStream<E = Record<string, any>>(options: ClientOptions<E>): StreamClient<E> {
  const { clock = systemClock, log = writeLog, since = 'now' } = options;
  const status = createStatus(clock, options.graceMs ?? 5_000);
  const tokens = keepToken(options.token);
  // Loaded while the page goes on; where that fails, the stream does without.
  const page = globalThis.document ? import('./page.js').catch(() => null) : null;
  /** Settles when what came so far has been dealt with. */
  let inbox = Promise.resolve<unknown>(0);
  let hasLoaded = false;
  let unfollow = () => {};

  /** What others have written may fail; nothing else does for that. */
  const guard: Guard = async (what, action) => {
    try {
      return await action();
    } catch (cause) {
      log({ level: 'error', text: what + ' has failed', cause });
    }
  };

  const urlOf = (path: string, more = {}) => {
    const url = new URL(path, globalThis.location?.href);
    for (
      const [name, values] of Object.entries({ ...options.filters, gap: options.gap, ...more })
    ) {
      for (const value of [values ?? []].flat()) url.searchParams.append(name, value as string);
    }
    return url.href;
  };
  const historyPath = options.historyUrl ?? options.url.replace(/\/stream\b/, '/history');

  const core = {
    options,
    clock,
    log,
    status,
    guard,
    tokens,
    since,
    random: options.random ?? Math.random,
    urlOf,
    end,
    historyUrl: historyPath && historyPath !== options.url ? urlOf(historyPath) : '',
    fetch: options.fetch ?? fetch.bind(globalThis),
    run: 0,
    isOpen: false,
    connection: null,
    tabs: null,
    waiting: 0,

    /** The only way in: one batch after the other, each where the one before it ended. */
    accept(batch: Batch, isFresh: boolean) {
      const mine = core.run;
      core.waiting += 1;
      return inbox = inbox.then(() =>
        guard('reading', async () => {
          core.waiting -= 1;
          const { after } = batch;
          // A stream that began elsewhere may be ahead of what this tab has.
          const isAhead = delivery.cursor
            ? after && isBehind(after, delivery.cursor)
            : since !== 'now';
          if (mine === core.run && !isFresh && isAhead) {
            await (await import('./polling.js')).fillGap(core, after);
          }
          if (mine !== core.run) return;
          delivery.cursor ??= after;
          await delivery.deliver(batch);
        })
      );
    },

    lead(role: 'solo' | 'leader', heard: string | null) {
      status.set({ role });
      core.connection = connect(core, heard);
    },

    async start() {
      const mine = ++core.run;
      status.set({ phase: 'connecting', error: null });
      const load = () => options.cursor?.load();
      const id = hasLoaded ? delivery.cursor : await guard('cursor.load', load) ?? null;
      const parts = await page;
      // A later start has loaded for itself, and may be further.
      if (mine !== core.run) return;
      hasLoaded = true;
      delivery.cursor = id;
      status.set({ lastEventId: id });
      const isShared = await parts?.share(core);
      if (mine === core.run && !isShared) core.lead('solo', null);
    },

    suspend() {
      core.run += 1;
      core.tabs?.leave();
      core.connection?.stop();
      core.tabs = core.connection = null;
    },
  } as unknown as Core;
  const delivery = core.delivery = createDelivery(core);

  function end(error: StreamError | null) {
    core.isOpen = false;
    core.suspend();
    unfollow();
    status.set({ phase: 'closed', retryAt: null, error, role: 'solo' });
  }

  const client = {
    open() {
      if (core.isOpen) return;
      core.isOpen = true;
      const mine = ++core.run;
      // A page that opens and closes at once, as React's StrictMode does, makes no request.
      queueMicrotask(async () => {
        if (mine !== core.run) return;
        void core.start();
        const parts = await page;
        unfollow();
        if (parts && core.isOpen) unfollow = parts.followPage(core);
      });
    },
    close() {
      if (core.isOpen) end(null);
    },
    reconnect() {
      core.connection?.reconnect();
      core.tabs?.check();
    },
    on: delivery.on,
    onGap: (handler: (gap: StreamGap) => void) =>
      delivery.on('stream.reset', ({ id, data }) => handler({ ...(data as StreamGap), id })),
    async *events(wanted: EventsOptions = {}) {
      const waiting: StreamEvent[] = [];
      const queue = { waiting, take: (event: StreamEvent) => void waiting.push(event) };
      // From now on, not from when the module is there.
      const ends = (wanted.types ?? ['*']).map((type) =>
        delivery.on(type, (event) => queue.take(event))
      );
      try {
        yield* (await import('./iterate.js')).drain(queue, status, wanted);
      } finally {
        ends.forEach((end) => end());
      }
    },
    subscribe: status.subscribe,
    getStatus: status.get,
  } as unknown as StreamClient<E>;
  return client;
}
