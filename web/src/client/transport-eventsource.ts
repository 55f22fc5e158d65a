import type { RawFrame, StreamErrorCode, Transport } from './types.js';

/** What the transport needs to know. */
export interface EventSourceOptions {
  /** The types that events may have: an `EventSource` hears only those that it is told of. */
  types: readonly string[];
  /** Where a ticket is had for a token, since an `EventSource` sends none; `/api/v1/auth/sse-token`. */
  ticketUrl?: string;
  /** To be used in place of the browser's. */
  EventSource?: typeof EventSource;
}

/** How the service speaks of the stream. */
const control = ['open', 'reset', 'live', 'health', 'cursor', 'end'].map((name) =>
  `stream.${name}`
);
/** How often an open stream counts as alive: its heartbeats cannot be seen. */
const aliveMs = 5_000;

/**
 * A stream by the browser's `EventSource`, for where `fetch` cannot stream.
 *
 * It sees neither statuses nor heartbeats, so that a service that refuses looks like one that is away. It is
 * never left to reconnect by itself: with a ticket that was used it would be refused and stop for good.
 */
export function eventSourceTransport(options: EventSourceOptions): Transport {
  const { types, ticketUrl = '/api/v1/auth/sse-token' } = options;
  return async (request, sink) => {
    const url = new URL(request.url, globalThis.location?.href);
    if (request.lastEventId) url.searchParams.set('last_event_id', request.lastEventId);
    if (request.token) {
      try {
        const response = await request.fetch(new URL(ticketUrl, url), {
          method: 'POST',
          headers: { Authorization: 'Bearer ' + request.token },
          signal: request.signal,
        });
        if (!response.ok) return refusal(response.status);
        url.searchParams.set('sse_token', (await response.json()).token);
      } catch (cause) {
        return { code: 'network', message: `No ticket: ${cause}`, cause };
      }
    }
    const Source = options.EventSource ?? EventSource;
    return new Promise((resolve) => {
      const source = new Source(url.href);
      const timer = setInterval(() => {
        if (source.readyState === Source.OPEN) sink.alive();
      }, aliveMs);
      const finish = () => {
        clearInterval(timer);
        source.close();
        resolve({ code: 'network', message: 'The EventSource has failed' });
      };
      // One after the other: what comes meanwhile waits in the promise.
      let handled: Promise<unknown> = Promise.resolve();
      let id = '';
      const hear = ({ type, data, lastEventId }: MessageEvent<string>) => {
        sink.alive();
        // It is not told whether a block has an id of its own. A reset has: that of the `stream.open`.
        const hasId = lastEventId !== id || type === 'stream.reset';
        const frame: RawFrame = { type, data, id: lastEventId, hasId };
        id = lastEventId;
        handled = handled.then(() => sink.frames([frame]));
      };
      for (const type of new Set(['message', ...control, ...types])) {
        source.addEventListener(type, hear as (event: Event) => void);
      }
      source.onopen = () => sink.alive();
      source.onerror = () => void handled.then(finish);
      request.signal.addEventListener('abort', finish);
      if (request.signal.aborted) finish();
    });
  };
}

/** Why there is no ticket. */
function refusal(status: number) {
  const code: StreamErrorCode = status === 401
    ? 'unauthorized'
    : status === 403
    ? 'forbidden'
    : 'bad-response';
  return { code, message: `No ticket: HTTP ${status}`, status };
}
