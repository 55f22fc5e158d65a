import type { Core } from './client.js';
import { isBehind } from './cursor.js';
import type { HistoryPage } from './schema-types.js';
import type { Batch, RawFrame } from './types.js';

/** The page's events as the stream would have sent them, and the id up to which it was read. */
function framesOf({ events, reset, next }: HistoryPage): RawFrame[] {
  const frames = events.map(({ id, ...data }): RawFrame => ({
    type: data.type,
    data: JSON.stringify(data),
    id,
    hasId: true,
  }));
  frames.push({
    type: reset ? 'stream.reset' : 'stream.cursor',
    data: JSON.stringify(reset ?? {}),
    id: next,
    hasId: true,
  });
  return frames;
}

/** How long a page may take, in milliseconds. */
const pageMs = 30_000;

/** Reads one page behind an id; rejects where there is none. */
async function readPage(core: Core, after: string | null) {
  const url = new URL(core.historyUrl);
  url.searchParams.set('since', after ?? core.since);
  url.searchParams.set('limit', '1000');
  const token = await core.tokens.get();
  const controller = new AbortController();
  const timer = core.clock.setTimeout(() => controller.abort(), pageMs);
  try {
    const response = await core.fetch(url, {
      headers: token ? { Authorization: 'Bearer ' + token } : {},
      cache: 'no-store',
      signal: controller.signal,
    });
    if (!response.ok) throw new Error(`History answers ${response.status}.`);
    const page: HistoryPage = await response.json();
    const batch: Batch = { after, live: false, frames: framesOf(page) };
    return { batch, hasMore: page.has_more };
  } finally {
    core.clock.clearTimeout(timer);
  }
}

/** Reads history from where a tab is to where a stream goes on, however long that takes. */
export async function fillGap(core: Core, after: string | null): Promise<void> {
  const { clock, delivery, run } = core;
  if (!core.historyUrl) {
    const data = '{"reason":"unfilled"}';
    const reset = { type: 'stream.reset', data, id: after ?? '', hasId: true };
    return delivery.deliver({ frames: [reset], live: true });
  }
  while (run === core.run) {
    try {
      const { batch, hasMore } = await readPage(core, delivery.cursor);
      if (run === core.run) await delivery.deliver(batch);
      if (!hasMore || !after || !isBehind(after, delivery.cursor)) return;
    } catch (cause) {
      core.log({ level: 'warn', text: 'History cannot be read.', cause });
      await new Promise<void>((done) => clock.setTimeout(done, 1000 + 4000 * core.random()));
    }
  }
}

/** What polling takes. */
export interface PollContext {
  everyMs: number;
  cursor(): string | null;
  /** @param isFresh whether it was read from where `since` says. */
  batch(batch: Batch, isFresh: boolean): Promise<void>;
  /** History can be read, or it no longer can. */
  works(does: boolean): void;
}

/** Reads history at intervals until it is stopped, or cannot. */
export function pollHistory(
  core: Core,
  context: PollContext,
): { isWorking: Promise<boolean>; stop(): void } {
  let isRunning = true;
  let timer: unknown;
  const read = async (): Promise<boolean> => {
    try {
      for (let more = true; more;) {
        const after = context.cursor();
        const { batch, hasMore } = await readPage(core, after);
        if (!isRunning) return true;
        context.works(true);
        await context.batch(batch, after === null);
        if (!isRunning) return true;
        more = hasMore;
      }
    } catch {
      if (isRunning) context.works(false);
      return false;
    }
    timer = core.clock.setTimeout(read, context.everyMs);
    return true;
  };
  return {
    isWorking: read(),
    stop() {
      isRunning = false;
      core.clock.clearTimeout(timer);
    },
  };
}
