// Behaviour 3: what each way to end means. Each row is a real answer of a real server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle } from '../build/testing/index.js';
import { startClient, tokenWith, until } from './support.mjs';

for (const reason of ['lifetime', 'shutdown', 'slow']) {
  test(`stream.end ${reason}: it opens again after the retry of that frame, with its id`, async (t) => {
    const { stream, server, passWait, phase } = await startClient(t);
    stream.open();
    const exchange = (await server.next()).open();
    await phase('open');
    exchange.event('a', 1, '1-5').end(reason, { id: '1-9', retry: 1234 });
    assert.equal(await passWait(), 1234);
    const { attempt, error } = stream.getStatus();
    assert.deepEqual([attempt, error], [0, null], 'it is no failure');
    assert.equal((await server.next()).headers['last-event-id'], '1-9');
  });
}

test('events of the moment leave the id where it is: the stream opens again from the one before', async (t) => {
  const { stream, server, passWait, phase } = await startClient(t);
  const seen = [];
  stream.on('*', ({ data, id }) => seen.push([data, id]));
  stream.open();
  const exchange = (await server.next()).open({ id: '1-0' });
  await phase('open');
  exchange.event('tick', 1).event('a', 2, '1-5').event('tick', 3);
  await until('three', () => seen.length === 3);
  exchange.cut();
  await passWait();
  const next = await server.next();
  assert.equal(next.headers['last-event-id'], '1-5');
  next.open({ id: '1-5', resumed: 'complete' }).event('tick', 3).event('a', 4, '1-6');
  await until('the last', () => seen.length === 5);
  assert.deepEqual(seen, [[1, ''], [2, '1-5'], [3, ''], [3, ''], [4, '1-6']]);
});

const retried = [
  ['a clean end without a word', (exchange) => exchange.open().response.end(), 'ended'],
  ['a cut connection', (exchange) => exchange.open().cut(), 'network'],
  ['a connection cut before the answer', (exchange) => exchange.cut(), 'network'],
  ['500', (exchange) => exchange.answer(500), 'bad-response'],
  [
    '502 with a page of HTML',
    (exchange) => exchange.answer(502, '<h1>Bad gateway</h1>'),
    'bad-response',
  ],
  ['503', (exchange) => exchange.answer(503, { detail: 'draining' }), 'server-busy'],
  ['408', (exchange) => exchange.answer(408), 'bad-response'],
  ['429', (exchange) => exchange.answer(429), 'server-busy'],
];
for (const [name, act, code] of retried) {
  test(`${name}: it is tried again`, async (t) => {
    const { stream, server, passWait } = await startClient(t);
    stream.open();
    act(await server.next());
    await until('the error', () => stream.getStatus().error);
    assert.equal(stream.getStatus().error.code, code);
    await passWait();
    await server.next('another request');
  });
}

for (
  const [status, code] of [
    [400, 'bad-response'],
    [403, 'forbidden'],
    [404, 'bad-response'],
    [406, 'bad-response'],
    [410, 'bad-response'],
    [204, 'stopped-by-server'],
  ]
) {
  test(`${status}: it is closed for good`, async (t) => {
    const { stream, server, phase, clock } = await startClient(t);
    stream.open();
    (await server.next()).answer(status, status === 204 ? '' : { detail: 'because' });
    await phase('closed');
    assert.equal(stream.getStatus().error.code, code);
    assert.equal(stream.getStatus().error.status, status);
    if (status !== 204) assert.equal(stream.getStatus().error.message, 'because');
    await clock.advance(600_000);
    assert.equal(server.waiting, 0);
  });
}

test('another content type: an error, and tried again at the longest delay only', async (t) => {
  const { stream, server, passWait } = await startClient(t, { backoff: { max: 20_000 } });
  stream.open();
  (await server.next()).answer(200, '<h1>Sign in</h1>', { 'Content-Type': 'text/html' });
  assert.equal(await passWait(), 20_000);
  assert.equal(stream.getStatus().error.code, 'bad-content-type');
});

test('401: the token is renewed once and used at once; a second 401 closes', async (t) => {
  const asked = [];
  const { stream, server, phase } = await startClient(t, {
    token: (why) => {
      asked.push(why);
      return tokenWith({ sub: `${asked.length}` });
    },
  });
  stream.open();
  const first = await server.next();
  assert.match(first.headers.authorization, /^Bearer .+\..+\.$/);
  first.answer(401, { detail: 'who are you' });
  const second = await server.next();
  assert.notEqual(second.headers.authorization, first.headers.authorization);
  assert.deepEqual(asked, ['first', 'rejected']);
  second.answer(401, { detail: 'who are you' });
  await phase('closed');
  assert.equal(stream.getStatus().error.code, 'unauthorized');
  assert.deepEqual(asked, ['first', 'rejected']);
});

test('401 after a stream was open is a first 401 again', async (t) => {
  const asked = [];
  const { stream, server, phase, passWait } = await startClient(t, {
    token: (why) => asked.push(why) && 'a.b.c',
  });
  stream.open();
  (await server.next()).answer(401);
  const exchange = (await server.next()).open({ retry: 0 });
  await phase('open');
  exchange.cut();
  await passWait();
  (await server.next()).answer(401);
  await passWait();
  (await server.next()).open();
  await phase('open');
  assert.deepEqual(asked, ['first', 'rejected', 'rejected']);
});

test('401 with a token that nobody can renew closes at once', async (t) => {
  const { stream, server, phase } = await startClient(t, { token: 'fixed.token.x' });
  stream.open();
  const exchange = await server.next();
  assert.equal(exchange.headers.authorization, 'Bearer fixed.token.x');
  exchange.answer(401);
  await phase('closed');
  assert.equal(stream.getStatus().error.code, 'unauthorized');
});

test('stream.end expired: the token is renewed, and the stream opens again at once', async (t) => {
  const asked = [];
  const { stream, server, phase } = await startClient(t, {
    token: (why) => asked.push(why) && `t${asked.length}.x.x`,
  });
  stream.open();
  const exchange = (await server.next()).open();
  await phase('open');
  exchange.event('a', 1, '1-3').end('expired', { retry: 60_000 });
  const next = await server.next();
  assert.equal(next.headers.authorization, 'Bearer t2.x.x');
  assert.equal(next.headers['last-event-id'], '1-3');
  assert.deepEqual(asked, ['first', 'expired']);
});

test('tokens that expire as soon as they are used slow the client down', async (t) => {
  const { stream, server, phase, passWait } = await startClient(t, { token: () => 'a.b.c' });
  stream.open();
  (await server.next()).open({ retry: 0 }).end('expired', { retry: 0 });
  const delays = [];
  for (let count = 0; count < 3; count++) {
    const exchange = (await server.next()).open({ retry: 0 });
    await phase('open');
    exchange.end('expired', { retry: 0 });
    delays.push(await passWait());
  }
  assert.deepEqual(delays, [500, 1000, 2000]);
});

test('stream.end revoked: one renewal, and closed if that is refused too', async (t) => {
  for (const status of [401, 403]) {
    const asked = [];
    const { stream, server, phase } = await startClient(t, {
      token: (why) => asked.push(why) && 'a.b.c',
    });
    stream.open();
    const exchange = (await server.next()).open();
    await phase('open');
    exchange.end('revoked');
    (await server.next()).answer(status);
    await phase('closed');
    assert.equal(stream.getStatus().error.code, 'stopped-by-server');
    assert.deepEqual(asked, ['first', 'rejected']);
  }
});

test('stream.end revoked: with another token that is accepted it goes on', async (t) => {
  const { stream, server, phase } = await startClient(t, { token: () => 'a.b.c' });
  stream.open();
  const exchange = (await server.next()).open();
  await phase('open');
  exchange.end('revoked');
  const next = (await server.next()).open();
  await phase('open');
  next.event('a', 1, '1-1');
  await until('an event', () => stream.getStatus().lastEventId === '1-1');
});

test('stream.end revoked without a source of tokens closes', async (t) => {
  const { stream, server, phase } = await startClient(t);
  stream.open();
  (await server.next()).open().end('revoked');
  await phase('closed');
  assert.equal(stream.getStatus().error.code, 'stopped-by-server');
});

test('a source of tokens that fails is asked again, as a service that is away is', async (t) => {
  let failures = 2;
  const { stream, server, passWait } = await startClient(t, {
    token: async () => {
      if (failures-- > 0) throw new Error('sign-in is away');
      return 'a.b.c';
    },
  });
  stream.open();
  await passWait();
  assert.equal(stream.getStatus().error.code, 'unauthorized');
  await passWait();
  assert.equal((await server.next()).headers.authorization, 'Bearer a.b.c');
});

test('a source of tokens that never answers ends with the silence limit', async (t) => {
  const { stream, clock, phase } = await startClient(t, { token: () => new Promise(() => {}) });
  stream.open();
  await phase('connecting');
  await clock.advance(45_000);
  await phase('waiting');
  assert.equal(stream.getStatus().error.code, 'silence');
});

test('silence: without a byte for 2.5 heartbeats the stream is cut and opened again', async (t) => {
  const { stream, server, phase, clock, passWait } = await startClient(t);
  stream.open();
  const exchange = (await server.next()).open({ heartbeat: 4, id: '1-3' });
  await phase('open');
  await until('the heartbeat is known', () => stream.getStatus().resumed);
  await clock.advance(9_000);
  exchange.send(': hb\n');
  await until('it is heard', () => clock.due().includes(clock.now() + 1_000));
  await clock.advance(9_000);
  assert.equal(stream.getStatus().phase, 'open', 'a heartbeat counts');
  await clock.advance(1_000);
  await until('the stream is cut', () => exchange.isClosed);
  assert.equal(stream.getStatus().error.code, 'silence');
  await passWait();
  assert.equal((await server.next()).headers['last-event-id'], '1-3');
});

test('silence counts before the answer as well, and silenceMs 0 turns it off', async (t) => {
  const { stream, server, clock, phase } = await startClient(t, { silenceMs: 1000 });
  stream.open();
  await server.next();
  await clock.advance(1000);
  await phase('waiting');
  assert.equal(stream.getStatus().error.code, 'silence');

  const other = await startClient(t, { silenceMs: 0 });
  other.stream.open();
  const exchange = (await other.server.next()).open();
  await other.phase('open');
  await other.clock.advance(10_000_000);
  assert.equal(exchange.isClosed, false);
});

test('maxAttempts failures in a row are enough', async (t) => {
  const { stream, server, phase, passWait } = await startClient(t, { maxAttempts: 2 });
  stream.open();
  (await server.next()).answer(500);
  await passWait();
  (await server.next()).answer(500);
  await phase('closed');
  assert.equal(stream.getStatus().error.code, 'bad-response');
});

test('the request names filters, where to begin, and what to do at a gap', async (t) => {
  const { stream, server, passWait, phase } = await startClient(t, {
    filters: { context: ['a', 'b,c'], type: 'task.*' },
    since: 'earliest',
    gap: 'earliest',
  });
  stream.open();
  const exchange = await server.next();
  assert.deepEqual([...exchange.url.searchParams], [
    ['context', 'a'],
    ['context', 'b,c'],
    ['type', 'task.*'],
    ['gap', 'earliest'],
    ['since', 'earliest'],
  ]);
  assert.equal(exchange.headers['last-event-id'], undefined);
  assert.equal(exchange.headers.accept, 'text/event-stream');
  exchange.open({ id: '1-4', retry: 0 });
  await phase('open');
  await until('the id', () => stream.getStatus().lastEventId === '1-4');
  exchange.cut();
  await passWait();
  const next = await server.next();
  assert.equal(next.url.searchParams.get('since'), null, 'an id says it better');
  assert.equal(next.headers['last-event-id'], '1-4');
});

test('a cursor that was kept is where it begins; an id outside Latin-1 goes by the query', async (t) => {
  for (const [id, header, query] of [['5-7', '5-7', null], ['ä€', undefined, 'ä€']]) {
    const { stream, server } = await startClient(t, {
      cursor: { load: async () => id, save() {} },
    });
    stream.open();
    const exchange = await server.next();
    assert.equal(exchange.headers['last-event-id'], header);
    assert.equal(exchange.url.searchParams.get('last_event_id'), query);
  }
});

test('resumed says how the stream joined on', async (t) => {
  const { stream, server, phase, passWait } = await startClient(t);
  stream.open();
  let exchange = (await server.next()).open({ retry: 0 });
  await until('fresh', () => stream.getStatus().resumed === 'fresh');
  exchange.cut();
  await passWait();
  exchange = (await server.next()).open({ resumed: 'gap' });
  await phase('open');
  await until('gap', () => stream.getStatus().resumed === 'gap');
});

test('offline where no page tells of it: no request, and one soon after the network is back', async (t) => {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  const navigator = { onLine: false };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  t.after(() => {
    delete globalThis.navigator;
    if (before) Object.defineProperty(globalThis, 'navigator', before);
  });
  const { stream, server, phase, clock } = await startClient(t);
  stream.open();
  await phase('offline');
  await clock.advance(600_000);
  assert.deepEqual([server.waiting, stream.getStatus().retryAt], [0, null]);
  navigator.onLine = true;
  await clock.advance(10_000);
  (await server.next()).open();
  await phase('open');
});

test('nothing happens after close: no request, no handler', async (t) => {
  const { stream, server, phase, clock, passWait } = await startClient(t);
  const seen = [];
  stream.on('*', ({ id }) => seen.push(id));
  stream.open();
  const exchange = (await server.next()).open({ retry: 0 });
  await phase('open');
  exchange.event('a', 1, '1-1');
  stream.close();
  await until('the stream is cut', () => exchange.isClosed);
  await clock.advance(600_000);
  assert.deepEqual([seen, server.waiting, stream.getStatus().phase], [[], 0, 'closed']);

  stream.open();
  (await server.next()).answer(500);
  await phase('waiting');
  stream.close();
  await clock.advance(600_000);
  assert.equal(server.waiting, 0);
  assert.deepEqual(clock.due(), [], 'no timer is left');
  void passWait;
});

test('open after close goes on from the same id', async (t) => {
  const { stream, server, phase } = await startClient(t);
  stream.open();
  stream.open();
  (await server.next()).open({ id: '1-6' });
  await until('the id', () => stream.getStatus().lastEventId === '1-6');
  stream.close();
  await phase('closed');
  stream.open();
  assert.equal((await server.next()).headers['last-event-id'], '1-6');
  assert.equal(server.waiting, 0);
});

test('an id that comes too late, for a client that was opened anew, counts no more', async (t) => {
  const loads = [];
  const { stream, server, passWait } = await startClient(t, {
    cursor: { load: () => new Promise((resolve) => loads.push(resolve)), save() {} },
  });
  const seen = [];
  stream.on('*', ({ id }) => seen.push(id));
  stream.open();
  await until('a load', () => loads.length === 1);
  stream.close();
  stream.open();
  await until('another load', () => loads.length === 2);
  loads[1]('1-5');
  const exchange = (await server.next()).open({ id: '1-5', resumed: 'complete', retry: 0 });
  exchange.event('a', 1, '1-6');
  await until('the event', () => stream.getStatus().lastEventId === '1-6');
  loads[0]('1-2');
  await settle();
  assert.equal(stream.getStatus().lastEventId, '1-6');
  exchange.event('a', 1, '1-6').event('a', 2, '1-7');
  await until('the next', () => seen.includes('1-7'));
  exchange.cut();
  await passWait();
  assert.equal((await server.next()).headers['last-event-id'], '1-7');
  assert.deepEqual([seen, server.waiting], [['1-6', '1-7'], 0]);
});

test('behaviour 8: open, close, open in one turn makes one request', async (t) => {
  const { stream, server, phase } = await startClient(t);
  stream.open();
  stream.close();
  stream.open();
  (await server.next()).open();
  await phase('open');
  assert.equal(server.waiting, 0);
});

test('reconnect cuts what is open and ends the wait', async (t) => {
  const { stream, server, phase } = await startClient(t);
  stream.open();
  const exchange = (await server.next()).open({ id: '1-2' });
  await until('the id', () => stream.getStatus().lastEventId === '1-2');
  stream.reconnect();
  const next = await server.next();
  await until('the first is cut', () => exchange.isClosed);
  assert.equal(next.headers['last-event-id'], '1-2');
  next.answer(500);
  await phase('waiting');
  stream.reconnect();
  await server.next();
});

test('health: degraded without a stream, down after graceMs, good with one; told when it changes', async (t) => {
  const { stream, server, clock, phase } = await startClient(t, { graceMs: 4000 });
  const seen = [];
  stream.subscribe(() => {
    const { health } = stream.getStatus();
    if (seen.at(-1) !== health) seen.push(health);
  });
  assert.equal(stream.getStatus().health, 'good');
  stream.open();
  const exchange = (await server.next()).open();
  await phase('open');
  exchange.cut();
  await phase('waiting');
  const { retryAt, since } = stream.getStatus();
  assert.ok(retryAt > since);
  await clock.advance(retryAt - clock.now());
  await server.next();
  await clock.advance(3999 - (clock.now() - since));
  assert.deepEqual(seen, ['degraded', 'good', 'degraded']);
  await clock.advance(1);
  assert.equal(seen.at(-1), 'down');
  server.exchanges.at(-1).open();
  await phase('open');
  assert.equal(seen.at(-1), 'good');
});
