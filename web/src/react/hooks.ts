import { useEffect, useLayoutEffect, useMemo, useRef, useSyncExternalStore } from 'react';
import type { StreamEvent, StreamStatus } from '../client/index.js';
import { useClient } from './context.js';
import {
  createLiveQuery,
  createReducedState,
  type LiveQuery,
  type LiveQueryOptions,
  type Store,
} from './store.js';

/** The last value, for functions that outlive a render. */
function useLatest<T>(value: T) {
  const ref = useRef(value);
  useLayoutEffect(() => {
    ref.current = value;
  });
  return ref;
}

function useStore<T>(store: Store<T>): T {
  useEffect(() => store.start(), [store]);
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}

/**
 * The status of the stream, or what `select` takes of it: a component renders again only when that is
 * another value, so it must not be made anew at each call.
 */
export function useSSEStatus<T = StreamStatus>(select?: (status: StreamStatus) => T): T {
  const client = useClient();
  const read = () => select ? select(client.getStatus()) : client.getStatus() as T;
  return useSyncExternalStore(client.subscribe, read, read);
}

/** Calls a handler for each event of a type: of each, however many come between two renders. */
export function useSSE<T = any>(
  type: string,
  handler: (event: StreamEvent<string, T>) => void,
  { enabled = true }: { enabled?: boolean } = {},
): StreamStatus {
  const client = useClient();
  const latest = useLatest(handler);
  useEffect(() => {
    if (enabled) return client.on(type, (event) => latest.current(event));
  }, [client, type, enabled, latest]);
  return useSSEStatus();
}

/**
 * A state that events change.
 *
 * With `load` it begins with what that gives, and is loaded anew after a gap. A new `key` begins anew.
 */
export function useSSEState<S, T = any>(
  types: readonly string[],
  reduce: (state: S, event: StreamEvent<string, T>) => S,
  initial: S,
  { key, load }: { key?: string | number; load?: () => Promise<S> } = {},
): { state: S; status: StreamStatus; reload: () => void } {
  const client = useClient();
  const latest = useLatest({ reduce, load });
  const hasLoad = !!load;
  const list = types.join();
  const store = useMemo(
    () =>
      createReducedState<S>(client, {
        types: list.split(','),
        reduce: (state, event) => latest.current.reduce(state, event),
        initial,
        load: hasLoad ? () => latest.current.load!() : undefined,
      }),
    // oxlint-disable-next-line exhaustive-deps -- initial counts only where a state begins
    [client, list, key, hasLoad, latest],
  );
  return { state: useStore(store), status: useSSEStatus(), reload: store.reload };
}

/**
 * What `load` gives, kept fresh: loaded anew after events of some types, and at intervals only while there
 * is no stream. It takes the place of a hook that polls.
 */
export function useLiveQuery<T>(
  { load, invalidateOn, pollMs, minIntervalMs }: LiveQueryOptions<T>,
): LiveQuery<T> {
  const client = useClient();
  const latest = useLatest(load);
  const list = invalidateOn.join();
  const store = useMemo(
    () =>
      createLiveQuery<T>(client, {
        load: () => latest.current(),
        invalidateOn: list.split(','),
        pollMs,
        minIntervalMs,
      }),
    [client, list, pollMs, minIntervalMs, latest],
  );
  return useStore(store);
}

/** One column of one row, kept fresh by the events of its topic. */
export function useRowField<T>(
  id: string | undefined,
  field: string,
  value: T,
  topic = 'task',
): T {
  const { state } = useSSEState<T>(
    [`${topic}.*`],
    (state, { data }) =>
      id && data.key === id && data.new && field in data.new ? data.new[field] : state,
    value,
    { key: [topic, id, field, value].join() },
  );
  return state;
}
