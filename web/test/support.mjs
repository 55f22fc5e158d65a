import { createServer } from 'node:http';
import { createStream } from '../build/client/index.js';
import { createManualClock } from '../build/testing/index.js';

/** Waits until something is the case, for a generous while. */
export async function until(what, check) {
  const end = performance.now() + 10_000;
  while (performance.now() < end) {
    const value = await check();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`not within 10 s: ${what}`);
}

/** One request that waits for its answer. */
class Exchange {
  constructor(request, response) {
    this.request = request;
    this.response = response;
    this.url = new URL(request.url, 'http://localhost');
    this.headers = request.headers;
    this.isClosed = false;
    response.on('close', () => this.isClosed = true);
  }

  /** Begins a stream as the service does. */
  open({ id = '1-0', resumed = 'fresh', heartbeat = 15, retry = 2000, live = true } = {}) {
    this.response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const data = { connection_id: 'c', heartbeat_seconds: heartbeat, resumed, head: id };
    this.send(`retry: ${retry}\nid: ${id}\nevent: stream.open\ndata: ${JSON.stringify(data)}\n\n`);
    if (live) this.send(`id: ${id}\nevent: stream.live\ndata: {"head":"${id}"}\n\n`);
    return this;
  }

  send(text) {
    this.response.write(text);
    return this;
  }

  event(type, data, id) {
    return this.send(`${id ? `id: ${id}\n` : ''}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  /** Ends the stream as planned. */
  end(reason, { id, retry = 100 } = {}) {
    this.send(
      `${
        id ? `id: ${id}\n` : ''
      }retry: ${retry}\nevent: stream.end\ndata: {"reason":"${reason}"}\n\n`,
    );
    this.response.end();
  }

  /** Cuts the connection. */
  cut() {
    this.request.socket.destroy();
  }

  answer(status, body = '', headers = {}) {
    this.response.writeHead(status, headers);
    this.response.end(typeof body === 'string' ? body : JSON.stringify(body));
  }
}

/** A real HTTP server whose answers a test gives by hand. */
export async function startServer(t) {
  const exchanges = [];
  let taken = 0;
  const server = createServer((request, response) => {
    request.resume();
    exchanges.push(new Exchange(request, response));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${server.address().port}`;
  return {
    origin,
    url: `${origin}/api/v1/events/stream`,
    exchanges,
    /** The next request. */
    next: (what = 'a request') => until(what, () => exchanges[taken] && exchanges[taken++]),
    /** How many requests were not looked at. */
    get waiting() {
      return exchanges.length - taken;
    },
  };
}

/** A client of a server, with time and chance in the test's hands. */
export async function startClient(t, options = {}) {
  const server = await startServer(t);
  const clock = createManualClock();
  const logged = [];
  const stream = createStream({
    url: server.url,
    clock,
    random: () => 0.5,
    fallback: false,
    log: (entry) => logged.push(entry),
    ...options,
  });
  t.after(() => stream.close());
  const phase = (name) => until(`phase ${name}`, () => stream.getStatus().phase === name);
  /** Waits until the client waits, and lets that time pass. */
  const passWait = async () => {
    await phase('waiting');
    const { retryAt } = stream.getStatus();
    const delay = retryAt - clock.now();
    await clock.advance(delay);
    return delay;
  };
  return { server, clock, stream, logged, phase, passWait };
}

/** A token as a service would sign it, without the signature. */
export function tokenWith(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part(claims)}.`;
}
