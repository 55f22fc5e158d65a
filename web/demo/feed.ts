import type { StreamEvent } from '../src/client/index.js';

/** One line of the feed. */
export interface FeedLine {
  id: string;
  type: string;
  key: string;
  context: string | null;
  /** What it says in a few words. */
  text: string;
  /** Milliseconds from its commit to this page; `null` for what was replayed. */
  lag: number | null;
  time: string;
}

/** The newest events, and how many there were. */
export interface Feed {
  /** Newest first. */
  readonly lines: FeedLine[];
  readonly count: number;
  /** How far the service's clock is ahead of this one, in milliseconds. */
  readonly clockOffset: number;
}

const kept = 200;

/** A feed to which nothing has come. */
export const emptyFeed: Feed = { lines: [], count: 0, clockOffset: 0 };

/** What a feed is after one more event. */
export function addToFeed(feed: Feed, event: StreamEvent<string, any>): Feed {
  const { data, type, id, receivedAt, replayed } = event;
  if (type === 'stream.open') {
    const ahead = Date.parse(data.time) - receivedAt;
    // A small difference is the way of the frame, not that of the clocks.
    return { ...feed, clockOffset: Math.abs(ahead) > 1000 ? ahead : 0 };
  }
  const row = data.new ?? data.old;
  const lag = Math.max(0, Math.round(receivedAt + feed.clockOffset - Date.parse(data.time)));
  const line: FeedLine = {
    id,
    type,
    key: data.key ?? '',
    context: row?.context ?? null,
    text: row ? describe(data.changed, row) : data.data === undefined ? '' : textOf(data.data),
    lag: replayed ? null : lag,
    time: data.time,
  };
  const { lines } = feed;
  lines.unshift(line);
  // Not at each event: cutting is dear.
  return {
    ...feed,
    lines: lines.length > 2 * kept ? lines.slice(0, kept) : lines,
    count: feed.count + 1,
  };
}

function describe(changed: string[] | undefined, row: Record<string, unknown>): string {
  if (changed?.includes('status')) return `${row.title} – ${row.status}`;
  if (changed?.includes('progress')) return `${row.title} – ${row.progress} %`;
  return String(row.title ?? '');
}

function textOf(data: unknown): string {
  return typeof data === 'string' ? data : JSON.stringify(data);
}
