import type { StreamClient, StreamStatus } from '../src/client/index.js';

/** An interruption, and what became of the events in it. */
export interface Outage {
  began: number;
  ended: number;
  /** How many events came after it that had happened meanwhile. */
  missed: number;
  /** Of those that the log has: how many never came, and how many came more than once. */
  lost: number;
  doubled: number;
}

/** The newest ids are enough: an interruption is looked at when it ends. */
const kept = 50_000;

/**
 * Counts, after each interruption, whether every event came once.
 *
 * The log itself is the witness: its history between the id before the interruption and the one at which the
 * stream was live again is laid beside the ids that handlers were called with.
 */
export function watchOutages(
  client: StreamClient<any>,
  historyUrl: string,
  found: (outage: Outage) => void,
): () => void {
  const calls = new Map<string, number>();
  let before: { id: string; began: number } | null = null;
  let liveId: string | null = null;

  const note = ({ id }: { id: string }) => {
    calls.set(id, (calls.get(id) ?? 0) + 1);
    if (calls.size > kept) calls.delete(calls.keys().next().value!);
  };
  const look = () => {
    const { phase, lastEventId, health }: StreamStatus = client.getStatus();
    if (liveId && lastEventId && health !== 'good' && phase !== 'closed' && !before) {
      before = { id: lastEventId, began: Date.now() };
    }
  };
  const live = async ({ id }: { id: string }) => {
    liveId = id;
    if (!before) return;
    const { id: from, began } = before;
    before = null;
    const ended = Date.now();
    const ids = await idsBetween(historyUrl, from, id);
    const counts = ids.map((one) => calls.get(one) ?? 0);
    found({
      began,
      ended,
      missed: ids.length,
      lost: counts.filter((count) => count === 0).length,
      doubled: counts.filter((count) => count > 1).length,
    });
  };
  const ends = [client.on('*', note), client.on('stream.live', live), client.subscribe(look)];
  return () => ends.forEach((end) => end());
}

/** The ids of the log behind one id, up to another. */
async function idsBetween(historyUrl: string, from: string, to: string): Promise<string[]> {
  const position = (id: string) => Number(id.split('-')[1]);
  const ids: string[] = [];
  for (let since = from;;) {
    const response = await fetch(`${historyUrl}?limit=1000&since=${since}`);
    const page = await response.json();
    const inside = page.events.filter(({ id }: { id: string }) => position(id) <= position(to));
    ids.push(...inside.map(({ id }: { id: string }) => id));
    if (!page.has_more || inside.length < page.events.length) return ids;
    since = page.next;
  }
}
