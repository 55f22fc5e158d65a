import type { StatusStore } from './status.js';
import type { EventsOptions, StreamEvent } from './types.js';

/** Events that wait for who iterates over them. */
interface EventQueue {
  waiting: StreamEvent[];
  /** Called for each that comes. */
  take(event: StreamEvent): void;
}

/** The events of a queue as they come; ends with its signal, and when the client is closed. */
export async function* drain(
  queue: EventQueue,
  status: StatusStore,
  { buffer = 10_000, signal }: EventsOptions,
): AsyncGenerator<StreamEvent, void, undefined> {
  const { waiting } = queue;
  let wake = () => {};
  const look = () => wake();
  queue.take = (event) => {
    // One too many says that there were more.
    if (waiting.length <= buffer) waiting.push(event);
    wake();
  };
  const unsubscribe = status.subscribe(look);
  signal?.addEventListener('abort', look);
  try {
    while (!signal?.aborted) {
      if (waiting.length > buffer) throw new RangeError(`More than ${buffer} events wait`);
      const event = waiting.shift();
      if (event) yield event;
      else if (status.get().phase === 'closed') return;
      else await new Promise<void>((resolve) => wake = resolve);
    }
  } finally {
    unsubscribe();
    signal?.removeEventListener('abort', look);
  }
}
