import { backoffDelay, defaultBackoff, isFinal } from './backoff.js';
import type { Core } from './client.js';
import { isBehind } from './cursor.js';
import { fetchTransport } from './transport-fetch.js';
import type { Batch, Link, Outcome, RawFrame, StreamError } from './types.js';

/** Keeps one stream open until it is stopped, or until trying on makes no sense. */
export interface Connection {
  stop(): void;
  /** Connects anew, at once. */
  reconnect(): void;
  /** Something may have changed: tries at once if it waits, and looks whether what is open lives. */
  check(): void;
}

/** Whether the browser knows that there is no network. */
const isOffline = () => globalThis.navigator?.onLine === false;

/** How often it is looked whether the network is back: without `page.js` nobody listens. */
const offlineMs = 10_000;
/** Without a heartbeat that is known, this long without a byte is too long. */
const defaultSilence = 45_000;

/**
 * Opens a stream, and opens it again whenever it ends.
 *
 * ```
 *  connecting ─▶ open ─▶ waiting ─▶ connecting …      closed: 401 twice, 403, 404, 204, …
 *       └───────────────────▲  └─▶ polling, while the stream is tried now and then
 * ```
 */
export function connect(core: Core, heard: string | null): Connection {
  const { clock, delivery, options, status } = core;
  const { maxAttempts = Infinity, maxEventBytes = 1_048_576, silenceMs } = options;
  const backoff = { ...defaultBackoff, ...options.backoff };
  const fallback = { everyMs: 5_000, afterFailures: 3, retryStreamMs: 30_000, ...options.fallback };
  const hasFallback = options.fallback !== false && core.historyUrl;
  let isRunning = true;
  let isOpen = false;
  let isPolling = false;
  let polling: { stop(): void } | null = null;
  let failures = 0;
  /** What the service asks for at least between two attempts. */
  let retryMs = 0;
  /** The same, after the last attempt. */
  let floor = 0;
  /** 0: it means nothing. */
  let silence = silenceMs ?? defaultSilence;
  let aliveAt = clock.now();
  let hasRenewed = false;
  let wasRevoked = false;
  /** Ends the attempt that is under way, and says why. */
  let cut: ((why: 'silence' | 'again') => void) | null = null;
  /** Ends the wait. */
  let wake: (() => void) | null = null;

  const wait = (ms: number) =>
    new Promise<void>((resolve) => {
      wake = () => {
        clock.clearTimeout(timer);
        wake = null;
        resolve();
      };
      const timer = clock.setTimeout(wake, ms);
    });

  const show = (change: Partial<Link>) => {
    if (!isRunning) return;
    status.set({ attempt: failures, retryAt: null, ...change });
    core.tabs?.tellLink();
  };

  const goOnFrom = () => heard && isBehind(heard, delivery.cursor) ? heard : delivery.cursor;

  /** @param isFresh whether it came from where `since` says. */
  const hand = async (batch: Batch, isFresh: boolean) => {
    if (!isRunning) return;
    core.tabs?.tell(batch);
    heard = null;
    await core.accept(batch, isFresh);
  };

  /** One stream from its request to its end. */
  async function attempt() {
    const controller = new AbortController();
    const { signal } = controller;
    const cursor = goOnFrom();
    const isFresh = cursor === null;
    let outcome: Outcome = null;
    /** The reason of `stream.end`. */
    let end = '';
    let why = '' as '' | 'silence' | 'again';
    let after = cursor;
    let live = false;
    let stableTimer: unknown;
    let silenceTimer: unknown;
    aliveAt = clock.now();
    cut = (reason) => {
      why = reason;
      controller.abort();
    };
    const watch = () => {
      clock.clearTimeout(silenceTimer);
      const left = aliveAt + silence - clock.now();
      if (!silence) return;
      if (left > 0) silenceTimer = clock.setTimeout(watch, left);
      else cut!('silence');
    };
    watch();
    const aborted = new Promise<undefined>((resolve) => signal.onabort = () => resolve(undefined));

    const opened = () => {
      isOpen = true;
      hasRenewed = wasRevoked = false;
      endPolling();
      show({ phase: 'open', error: null });
      stableTimer = clock.setTimeout(() => {
        failures = 0;
        show({});
      }, backoff.stableAfter);
    };

    const take = (frame: RawFrame) => {
      if (!/^stream\.(open|end)$/.test(frame.type)) return;
      const { reason, resumed, heartbeat_seconds } = JSON.parse(frame.data);
      end = reason ?? end;
      if (!resumed) return;
      if (silence) silence = silenceMs ?? (heartbeat_seconds * 2500 || silence);
      watch();
      show({ resumed });
      // Where the stream starts, which need not be where a tab is. At a gap, a reset follows.
      if (resumed !== 'gap') after = frame.id;
      frame.hasId = false;
    };

    try {
      const token = await Promise.race([core.tokens.get(), aborted]);
      await core.tabs?.admit(token);
      if (isRunning && !why) {
        outcome = await (options.transport ?? fetchTransport)({
          url: core.urlOf(options.url, isFresh ? { since: core.since } : {}),
          token,
          lastEventId: cursor,
          signal,
          maxEventBytes,
          fetch: core.fetch,
          types: delivery.types(),
        }, {
          alive() {
            aliveAt = clock.now();
            if (!isOpen && !signal.aborted) opened();
          },
          retry(ms) {
            retryMs = ms;
          },
          async frames(frames) {
            if (signal.aborted) return;
            frames.forEach(take);
            const batch = { after, live, frames };
            live ||= frames.some((frame) => frame.type === 'stream.live');
            after = frames.filter((frame) => frame.hasId).at(-1)?.id || after;
            await hand(batch, isFresh);
            // The time that handlers took is not the service's silence.
            aliveAt = clock.now();
          },
        });
      }
    } catch (cause) {
      // Not refused by the service: the source may do better next time.
      outcome = { code: 'unauthorized', message: 'No token', cause };
    }
    controller.abort();
    clock.clearTimeout(silenceTimer);
    clock.clearTimeout(stableTimer);
    cut = null;
    isOpen = false;
    if (why === 'silence') outcome = { code: why, message: `Silent for ${silence} ms` };
    return { outcome, end, why };
  }

  /** How long to wait after a stream has ended; `null` where that is for good. */
  function delayAfter(outcome: Outcome, end: string): number | null {
    const error: StreamError | null = end ? null : outcome ??
      { code: 'ended', message: 'Stream closed' };
    const status = outcome?.status ?? 0;
    floor = Math.max(retryMs, outcome?.retryAfterMs ?? 0);
    const delay = backoffDelay(backoff, failures, floor, core.random());
    const give = (reason: StreamError) => {
      stop();
      core.end(reason);
      return null;
    };
    // A planned end: the service has spread the return of its clients already, if that can be heard.
    let result = retryMs || delay;
    if (end === 'expired' || end === 'revoked' || (status === 401 && !hasRenewed)) {
      wasRevoked = end === 'revoked';
      hasRenewed = end !== 'expired';
      if (!core.tokens.renew(hasRenewed ? 'rejected' : 'expired')) {
        return give(error ?? { code: 'stopped-by-server', message: `Token ${end}` });
      }
      // At once, unless that did not help the last time.
      result = failures++ && delay;
    } else if (error) {
      if (isFinal(status)) {
        return give(wasRevoked ? { ...error, code: 'stopped-by-server' } : error);
      }
      if (++failures >= maxAttempts) return give(error);
      result = error.code === 'bad-content-type' ? backoff.max : delay;
    }
    show({ error });
    return result;
  }

  /** Whether history can be read in place of the stream. */
  async function poll(): Promise<boolean> {
    const { pollHistory } = await import('./polling.js');
    if (!isRunning) return false;
    const poll = polling = pollHistory(core, {
      everyMs: fallback.everyMs,
      cursor: goOnFrom,
      batch: hand,
      works(does) {
        if (does && !isPolling) show({ phase: 'polling' });
        // Without it the stream is tried as often as ever.
        if (!does && isPolling) wake?.();
        isPolling = does;
      },
    });
    return poll.isWorking;
  }

  function endPolling() {
    polling?.stop();
    isPolling = false;
  }

  async function run() {
    while (isRunning) {
      if (isOffline()) {
        endPolling();
        show({ phase: 'offline' });
        await wait(offlineMs);
        continue;
      }
      if (!isPolling) show({ phase: 'connecting' });
      const { outcome, end, why } = await attempt();
      if (!isRunning || why === 'again') continue;
      let delay = delayAfter(outcome, end);
      if (delay === null) return;
      if (hasFallback && failures >= fallback.afterFailures) {
        if (isPolling) delay = fallback.retryStreamMs;
        // Where history answers again the stream may, too: at once, unless it is to be left alone.
        else if (await poll().catch(() => false)) delay = floor && delay;
      }
      if (!delay || isOffline()) continue;
      show({ phase: isPolling ? 'polling' : 'waiting', retryAt: clock.now() + delay });
      if (isRunning) await wait(delay);
    }
  }

  function reconnect() {
    cut?.('again');
    wake?.();
  }

  function stop() {
    isRunning = false;
    endPolling();
    reconnect();
  }

  void run();
  return {
    stop,
    reconnect,
    check() {
      // Timers may have slept: what is being tried is as old as what is open.
      if (cut && silence && clock.now() - aliveAt >= silence) cut('again');
      wake?.();
    },
  };
}
