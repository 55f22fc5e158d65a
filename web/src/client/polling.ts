import { isFinal } from './backoff.js';
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
/** How many pages in a row, a second apart, may get no further than the one before. */
const idlePages = 30;

/** An answer that is no page. */
class Refusal extends Error {
  readonly status: number;
  constructor(status: number) {
    super(`History answers ${status}.`);
    this.status = status;
  }
}

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
    if (response.status !== 200) throw new Refusal(response.status);
    const page: HistoryPage = await response.json();
    const batch: Batch = { after, live: false, frames: framesOf(page) };
    return { batch, hasMore: page.has_more };
  } finally {
    core.clock.clearTimeout(timer);
  }
}

/**
 * Reads history from where a tab is to where a stream goes on, however long that takes.
 *
 * Where history refuses, or gets no further for half a minute, the rest is told as a gap: a tab that waits
 * for it hears nothing more, and one that goes on without a word has lost it.
 */
export async function fillGap(core: Core, after: string | null): Promise<void> {
  const { clock, delivery, run } = core;
  const pause = (ms: number) => new Promise<void>((done) => clock.setTimeout(done, ms));
  const giveUp = () => {
    const data = '{"reason":"unfilled"}';
    const reset = { type: 'stream.reset', data, id: after ?? '', hasId: true };
    return delivery.deliver({ frames: [reset], live: true });
  };
  if (!core.historyUrl) return giveUp();
  let hasRenewed = false;
  let idle = 0;
  while (run === core.run) {
    try {
      // With a token of other claims this tab has no part in what the leader tells.
      await core.tabs?.admit(await core.tokens.get());
      if (run !== core.run) return;
      const from = delivery.cursor;
      const { batch, hasMore } = await readPage(core, from);
      if (run !== core.run) return;
      await delivery.deliver(batch);
      hasRenewed = false;
      const to = delivery.cursor;
      if (!after || !isBehind(after, to)) return;
      // Of ids that another service made nobody knows which comes first: its last page is the end.
      if (!hasMore && isBehind(to ?? '', after)) return;
      idle = to === from ? idle + 1 : 0;
      if (idle >= idlePages) return giveUp();
      // Another node answers than the stream's, and it is not that far yet.
      if (!hasMore || idle) await pause(500 + 1000 * core.random());
    } catch (cause) {
      if (run !== core.run) return;
      core.log({ level: 'warn', text: 'History cannot be read.', cause });
      const status = cause instanceof Refusal ? cause.status : 0;
      if (status === 401 && !hasRenewed && core.tokens.renew('rejected')) hasRenewed = true;
      else if (isFinal(status)) return giveUp();
      else await pause(1000 + 4000 * core.random());
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
