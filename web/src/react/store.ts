import type { StreamClient, StreamEvent } from '../client/index.js';

/** A value outside of React, as `useSyncExternalStore` wants it. */
export interface Store<T> {
  get(): T;
  subscribe(changed: () => void): () => void;
  /** Begins to follow the stream; returns what ends that. */
  start(): () => void;
  /** Loads anew. */
  reload(): void;
}

/** How many events are kept while their base is loaded; with more, it is loaded once more. */
const bufferLimit = 10_000;
/** The shortest time between two loads, and the first wait after one that failed. */
const loadMs = 1_000;
const longestMs = 30_000;

/** Calls a function at once, then again when asked, but not more often than every so many ms. */
function limited(run: () => void, ms: number) {
  let last = -Infinity;
  let timer: ReturnType<typeof setTimeout> | undefined;
  return {
    call(delay = 0) {
      timer ??= setTimeout(() => {
        timer = undefined;
        last = Date.now();
        run();
      }, Math.max(delay, last + ms - Date.now()));
    },
    stop() {
      timer = void clearTimeout(timer);
    },
  };
}

/** Holds a value and tells who subscribed when it was replaced. */
function holder<T>(initial: T) {
  let value = initial;
  const subscribers = new Set<() => void>();
  return {
    get: () => value,
    set(next: T) {
      if (next === value) return;
      value = next;
      for (const changed of [...subscribers]) changed();
    },
    subscribe(changed: () => void) {
      const own = () => changed();
      subscribers.add(own);
      return () => void subscribers.delete(own);
    },
  };
}

/** Follows events, gaps, each time that the stream is there again, and the status. */
function follow(
  client: StreamClient<any>,
  types: readonly string[],
  event: (event: StreamEvent<string, any>) => void,
  gap: () => void,
  connected: () => void,
  status?: () => void,
): () => void {
  let was = false;
  const look = () => {
    status?.();
    const is = /open|polling/.test(client.getStatus().phase);
    if (is && !was) connected();
    was = is;
  };
  const ends = types.map((type) => client.on(type, event));
  ends.push(client.onGap(gap), client.subscribe(look));
  look();
  return () => ends.forEach((end) => end());
}

/** What a reduced state is made of. */
export interface ReducedStateOptions<S> {
  types: readonly string[];
  reduce(state: S, event: StreamEvent<string, any>): S;
  initial: S;
  /** Loads what the events then change; called once connected, and again after a gap. */
  load?: () => Promise<S>;
}

/**
 * A state that events change: connect, load, then what came meanwhile, then what comes.
 *
 * What was committed before the stream was open is in what is loaded, what was committed later comes as
 * an event; what is in both comes twice, so `reduce` must bear that.
 */
export function createReducedState<S>(
  client: StreamClient<any>,
  { types, reduce, initial, load }: ReducedStateOptions<S>,
): Store<S> {
  const held = holder(initial);
  let state = initial;
  /** Waits for its base. */
  let buffer: Array<StreamEvent<string, any>> | null = load ? [] : null;
  let run = 0;
  let failures = 0;

  const show = () => held.set(state);
  /** Of many events that come at once the first shows what all have made of it. */
  const become = (next: S) => {
    state = next;
    queueMicrotask(show);
  };

  const loader = limited(async () => {
    const mine = ++run;
    buffer ??= [];
    try {
      const base = await load!();
      if (mine !== run) return;
      become(buffer!.reduce(reduce, base));
      buffer = null;
      failures = 0;
    } catch {
      if (mine === run) loader.call(Math.min(longestMs, loadMs * 2 ** failures++));
    }
  }, loadMs);

  const reload = () => {
    if (!load) return;
    buffer = [];
    run += 1;
    loader.call();
  };

  return {
    ...held,
    reload,
    start() {
      const end = follow(client, types, (event) => {
        if (!buffer) become(reduce(state, event));
        else if (buffer.length < bufferLimit) buffer.push(event);
        else reload();
      }, () => {
        if (load) reload();
        else become(initial);
      }, () => {
        // Without an id to go on from, what happened meanwhile is lost.
        if (!run || client.getStatus().lastEventId === null) reload();
      });
      return () => {
        run = 0;
        if (load) buffer = [];
        loader.stop();
        end();
      };
    },
  };
}

/** What a live query gives. */
export interface LiveQuery<T> {
  readonly data?: T;
  readonly error?: unknown;
  /** Whether the stream tells when to load, or a timer. */
  readonly source: 'stream' | 'polling';
  readonly updatedAt?: number;
}

/** What a live query is made of. */
export interface LiveQueryOptions<T> {
  load: () => Promise<T>;
  /** The types of events after which it is loaded anew. */
  invalidateOn: readonly string[];
  /** How often it is loaded while there is no stream; 30,000 ms. */
  pollMs?: number;
  /** The shortest time between two loads; 1,000 ms. */
  minIntervalMs?: number;
}

/** Keeps what `load` gives fresh: by events while there is a stream, by a timer while there is none. */
export function createLiveQuery<T>(
  client: StreamClient<any>,
  { load, invalidateOn, pollMs = 30_000, minIntervalMs = loadMs }: LiveQueryOptions<T>,
): Store<LiveQuery<T>> {
  const held = holder<LiveQuery<T>>({ source: 'stream' });
  let run = 0;
  let timer: ReturnType<typeof setInterval> | undefined;

  const loader = limited(async () => {
    const mine = ++run;
    try {
      const data = await load();
      if (mine === run) held.set({ data, source: held.get().source, updatedAt: Date.now() });
    } catch (error) {
      if (mine === run) held.set({ ...held.get(), error });
    }
  }, minIntervalMs);
  const reload = () => loader.call();

  return {
    ...held,
    reload,
    start() {
      reload();
      const end = follow(client, invalidateOn, reload, reload, reload, () => {
        const source = client.getStatus().health === 'down' ? 'polling' : 'stream';
        if (source !== held.get().source) held.set({ ...held.get(), source });
        if (source === 'polling') timer ??= setInterval(reload, pollMs);
        else timer = void clearInterval(timer);
      });
      return () => {
        run += 1;
        timer = void clearInterval(timer);
        loader.stop();
        end();
      };
    },
  };
}
