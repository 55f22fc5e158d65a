import { retryAfter } from './backoff.js';
import { createParser, readFrames } from './parser.js';
import type { StreamErrorCode, Transport } from './types.js';

/** What a status other than 200 means. */
const codes: Record<number, StreamErrorCode> = {
  204: 'stopped-by-server',
  401: 'unauthorized',
  403: 'forbidden',
  429: 'server-busy',
  503: 'server-busy',
};

/**
 * A stream by `fetch`.
 *
 * Unlike the browser's `EventSource` it sends a token, reads the status and `Retry-After`, notices
 * heartbeats, and does not give up on a service that is away.
 */
export const fetchTransport: Transport = async (request, sink) => {
  try {
    const url = new URL(request.url, globalThis.location?.href);
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (request.token) headers.Authorization = 'Bearer ' + request.token;
    if (request.lastEventId) {
      // A header takes Latin-1 only: fetch throws on anything else.
      if (/^[ -~]+$/.test(request.lastEventId)) headers['Last-Event-ID'] = request.lastEventId;
      else url.searchParams.set('last_event_id', request.lastEventId);
    }
    const response = await request.fetch(url, {
      headers,
      signal: request.signal,
      cache: 'no-store',
    });
    const { status } = response;
    const type = response.headers.get('Content-Type') ?? '';
    if (status !== 200) {
      // Its problem document (RFC 9457) is for people.
      const problem = await response.json().catch(() => null);
      return {
        code: codes[status] ?? 'bad-response',
        message: problem?.detail ?? `HTTP ${status}`,
        status,
        retryAfterMs: retryAfter(response.headers.get('Retry-After'), Date.now()),
      };
    }
    if (!/^text\/event-stream\b/i.test(type)) {
      return { code: 'bad-content-type', message: `Not an event stream: ${type}`, status };
    }
    const parser = createParser(request.maxEventBytes);
    for await (const frames of readFrames(response.body!, parser)) {
      const id = parser.id();
      sink.alive();
      sink.retry(parser.retryMs());
      // A block without data moves the id too.
      if (id !== (frames.at(-1)?.id ?? '')) {
        frames.push({ type: 'stream.cursor', data: '{}', id, hasId: true });
      }
      await sink.frames(frames);
    }
    return null;
  } catch (cause) {
    return { code: 'network', message: String(cause), cause };
  }
};
