import type { Clock } from './types.js';

/** What happens to a page and its machine. */
export type PageEvent =
  | 'online'
  | 'offline'
  | 'visible'
  | 'hidden'
  | 'wake'
  | 'leave'
  | 'return';

/** How often the clock is looked at, and the jump that only a sleep explains, in milliseconds. */
const tick = 10_000;
const jump = 20_000;

/**
 * Tells what happens to the page; returns what ends it.
 *
 * A page in the back/forward cache keeps its connections: `leave` is where they must go, `return` where
 * they come back. No event tells that a machine slept, but a timer that fires far too late does.
 */
export function watchPage(clock: Clock, happened: (event: PageEvent) => unknown): () => void {
  const ended = new AbortController();
  const listen = (
    target: EventTarget | undefined,
    type: string,
    event: (cause: Event) => PageEvent | null,
  ) =>
    target?.addEventListener?.(type, (cause) => {
      const what = event(cause);
      if (what) happened(what);
    }, { signal: ended.signal });
  const page: EventTarget | undefined = globalThis.window;
  const { document } = globalThis;
  listen(page, 'online', () => 'online');
  listen(page, 'offline', () => 'offline');
  listen(page, 'pagehide', () => 'leave');
  listen(page, 'pageshow', (show) => (show as PageTransitionEvent).persisted ? 'return' : null);
  listen(document, 'visibilitychange', () => document.hidden ? 'hidden' : 'visible');
  listen(document, 'resume', () => 'wake');

  let timer: unknown;
  let seen = clock.now();
  const look = () => {
    if (clock.now() - seen > tick + jump) happened('wake');
    seen = clock.now();
    timer = clock.setTimeout(look, tick);
  };
  timer = clock.setTimeout(look, tick);
  return () => {
    ended.abort();
    clock.clearTimeout(timer);
  };
}
