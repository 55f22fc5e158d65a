import type { Clock, Health, StreamStatus } from './types.js';

/** The status of a client, as `useSyncExternalStore` wants it. */
export interface StatusStore {
  get(): StreamStatus;
  /** Tells who subscribed, if anything has changed. */
  set(change: Partial<StreamStatus>): void;
  subscribe(changed: () => void): () => void;
}

/** Creates the status of a client that is not open. */
export function createStatus(clock: Clock, graceMs: number): StatusStore {
  const subscribers = new Set<() => void>();
  let timer: unknown;
  /** Since when there is no stream. */
  let troubleAt: number | null = null;
  let status: StreamStatus = Object.freeze({
    phase: 'idle',
    health: 'good',
    attempt: 0,
    retryAt: null,
    since: clock.now(),
    lastEventAt: null,
    lastEventId: null,
    role: 'solo',
    resumed: null,
    error: null,
  });

  const healthOf = ({ phase }: StreamStatus): Health => {
    if (phase === 'closed') return 'down';
    if (phase === 'open' || phase === 'idle') {
      troubleAt = null;
      return 'good';
    }
    troubleAt ??= clock.now();
    // What history has comes, if late.
    if (phase === 'polling') return 'degraded';
    const left = troubleAt + graceMs - clock.now();
    if (left <= 0) return 'down';
    timer = clock.setTimeout(() => set({}), left);
    return 'degraded';
  };

  const set = (change: Partial<StreamStatus>) => {
    const next = { ...status, ...change };
    if (next.phase !== status.phase) next.since = clock.now();
    clock.clearTimeout(timer);
    next.health = healthOf(next);
    const names = Object.keys(next) as Array<keyof StreamStatus>;
    if (names.every((name) => next[name] === status[name])) return;
    status = Object.freeze(next);
    for (const changed of [...subscribers]) changed();
  };

  return {
    get: () => status,
    set,
    subscribe(changed) {
      const own = () => changed();
      subscribers.add(own);
      return () => subscribers.delete(own);
    },
  };
}
