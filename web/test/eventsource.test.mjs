// The native EventSource as a transport: tickets for tokens, and no reconnecting by itself.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { eventSourceTransport } from '../build/client/eventsource.js';
import { startClient, until } from './support.mjs';

const EventSource = createRequire(import.meta.url)('eventsource');
const transport = (more) => eventSourceTransport({ types: ['a', 'b'], EventSource, ...more });

test('events, their ids and what the service says come as by fetch', async (t) => {
  const { stream, server, phase } = await startClient(t, { transport: transport() });
  const seen = [];
  stream.on('*', ({ type, id, data }) => seen.push([type, id, data]));
  stream.open();
  const exchange = (await server.next()).open({ id: '1-3' });
  await phase('open');
  exchange.event('a', 1, '1-4').event('b', 2).event('unheard', 3, '1-5').event('a', 4, '1-6');
  await until('the last', () => seen.length === 3);
  assert.deepEqual(seen, [['a', '1-4', 1], ['b', '', 2], ['a', '1-6', 4]]);
  assert.equal(stream.getStatus().resumed, 'fresh');
});

test('a reset takes the id back though it is that of the open before it', async (t) => {
  const { stream, server } = await startClient(t, {
    transport: transport(),
    cursor: { load: () => '5-7', save() {} },
  });
  const seen = [];
  stream.on('*', ({ id }) => seen.push(id));
  stream.onGap(({ reason, id }) => seen.push([reason, id]));
  stream.open();
  const exchange = (await server.next()).open({ id: '1-2', resumed: 'gap', live: false });
  exchange.send('id: 1-2\nevent: stream.reset\ndata: {"reason":"unknown-epoch"}\n\n');
  exchange.event('a', 1, '1-3').event('unheard', 2, '1-4').event('a', 3, '1-5');
  await until('the last', () => stream.getStatus().lastEventId === '1-5');
  assert.deepEqual(seen, [['unknown-epoch', '1-2'], '1-3', '1-5']);
});

test('it opens again by the client, with the id in the query', async (t) => {
  const { stream, server, phase, passWait } = await startClient(t, { transport: transport() });
  stream.open();
  const exchange = (await server.next()).open({ id: '1-3' });
  await until('the id', () => stream.getStatus().lastEventId === '1-3');
  exchange.cut();
  await passWait();
  const next = await server.next();
  assert.equal(next.url.searchParams.get('last_event_id'), '1-3');
  assert.equal(next.headers['last-event-id'], undefined);
  next.open({ id: '1-3', resumed: 'complete' });
  await phase('open');
  next.event('a', 1, '1-4').end('lifetime', { retry: 100, id: '1-4' });
  await passWait();
  await server.next();
  assert.equal(server.waiting, 0);
});

test('a token is exchanged for a new ticket each time', async (t) => {
  const { stream, server, phase, passWait } = await startClient(t, {
    transport: transport(),
    token: () => 'a.b.c',
  });
  stream.open();
  for (const ticket of ['t1', 't2']) {
    const exchange = await server.next();
    assert.deepEqual([exchange.request.method, exchange.url.pathname], [
      'POST',
      '/api/v1/auth/sse-token',
    ]);
    assert.equal(exchange.headers.authorization, 'Bearer a.b.c');
    exchange.answer(200, { token: ticket, expires_in: 60 }, { 'Content-Type': 'application/json' });
    const opened = await server.next();
    assert.equal(opened.url.searchParams.get('sse_token'), ticket);
    assert.equal(opened.headers.authorization, undefined);
    opened.open();
    await phase('open');
    opened.cut();
    await passWait();
  }
});

test('no ticket: 401 renews the token once, 403 closes, a service that is away is tried again', async (t) => {
  const asked = [];
  const { stream, server, phase, passWait } = await startClient(t, {
    transport: transport(),
    token: (why) => asked.push(why) && 'a.b.c',
  });
  stream.open();
  (await server.next()).cut();
  await passWait();
  (await server.next()).answer(503);
  await passWait();
  (await server.next()).answer(401);
  await passWait();
  (await server.next()).answer(403);
  await phase('closed');
  assert.equal(stream.getStatus().error.code, 'forbidden');
  assert.deepEqual(asked, ['first', 'rejected']);
});

test('close ends it', async (t) => {
  const { stream, server, phase, clock } = await startClient(t, { transport: transport() });
  stream.open();
  const exchange = (await server.next()).open();
  await phase('open');
  stream.close();
  await until('the stream is cut', () => exchange.isClosed);
  await clock.advance(60_000);
  assert.equal(server.waiting, 0);
});
