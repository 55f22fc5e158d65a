// Reading history: in place of a stream that cannot be had, and to fill gaps.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startClient, until } from './support.mjs';

const page = (events, next, more = {}) => ({ events, next, has_more: false, reset: null, ...more });
const event = (id, type = 'a') => ({
  id,
  event_id: '1',
  type,
  topic: 'x',
  op: 'publish',
  time: '',
  data: id,
});

/** A client whose stream has failed as often as polling needs. */
async function failing(t, options) {
  const started = await startClient(t, {
    fallback: { everyMs: 5000, afterFailures: 2, retryStreamMs: 30_000 },
    ...options,
  });
  const { stream, server, passWait } = started;
  const seen = [];
  stream.on('*', ({ id, data }) => seen.push([id, data.data]));
  stream.open();
  (await server.next()).answer(500);
  await passWait();
  (await server.next()).answer(500);
  /** Polling has begun: the stream is tried once more, at once, and fails; then it is left alone for long. */
  const failAgain = async () => {
    const exchange = await server.next();
    assert.ok(!isHistory(exchange), 'history answers again, so may the stream');
    exchange.answer(500);
    await until('a wait', () => stream.getStatus().retryAt);
  };
  return { ...started, seen, failAgain };
}

const isHistory = (exchange) => exchange.url.pathname === '/api/v1/events/history';

test('after afterFailures failures history is read at intervals, with the same cursor and filters', async (t) => {
  const { server, stream, seen, clock, phase, failAgain } = await failing(t, {
    filters: { type: 'a*' },
    cursor: { load: () => '1-3', save() {} },
    token: () => 'a.b.c',
  });
  const first = await server.next();
  assert.ok(isHistory(first));
  assert.equal(first.headers.authorization, 'Bearer a.b.c');
  assert.deepEqual(Object.fromEntries(first.url.searchParams), {
    type: 'a*',
    since: '1-3',
    limit: '1000',
  });
  first.answer(200, page([event('1-4'), event('1-5')], '1-5', { has_more: true }));
  const more = await server.next();
  assert.equal(more.url.searchParams.get('since'), '1-5', 'as long as there is more, at once');
  more.answer(200, page([], '1-8'));
  await phase('polling');
  await until('the id', () => stream.getStatus().lastEventId === '1-8');
  assert.deepEqual(seen, [['1-4', '1-4'], ['1-5', '1-5']]);
  assert.equal(stream.getStatus().health, 'degraded');
  await failAgain();
  await clock.advance(5000);
  const next = await server.next();
  assert.ok(isHistory(next));
  assert.equal(next.url.searchParams.get('since'), '1-8');
});

test('the stream is tried meanwhile, and takes over without a loss or a double', async (t) => {
  const { server, stream, seen, clock, phase, failAgain } = await failing(t, { since: 'earliest' });
  const first = await server.next();
  assert.equal(first.url.searchParams.get('since'), 'earliest');
  first.answer(200, page([event('1-1')], '1-1'));
  await phase('polling');
  await until('the first', () => seen.length === 1);
  await failAgain();
  assert.equal(stream.getStatus().retryAt - clock.now(), 30_000);
  let exchange;
  for (let count = 0; !exchange; count++) {
    assert.ok(count < 10);
    await clock.advance(5000);
    const next = await server.next();
    if (isHistory(next)) next.answer(200, page([], '1-1'));
    else exchange = next;
    if (!exchange && server.waiting) exchange = await server.next();
  }
  assert.equal(stream.getStatus().phase, 'polling', 'until the stream is there');
  assert.equal(exchange.headers['last-event-id'], '1-1');
  exchange.open({ id: '1-1', resumed: 'complete' }).event('a', { data: 'live' }, '1-2');
  await phase('open');
  await until('the second', () => seen.length === 2);
  const before = server.exchanges.filter(isHistory).length;
  await clock.advance(9000);
  assert.equal(server.exchanges.filter(isHistory).length, before, 'no more polling');
  assert.deepEqual(seen, [['1-1', '1-1'], ['1-2', 'live']]);
});

test('when history fails too, the stream is tried as often as without it', async (t) => {
  const { server, stream, phase, clock, passWait, failAgain } = await failing(t);
  (await server.next()).answer(503);
  await phase('waiting');
  assert.ok(stream.getStatus().retryAt - clock.now() <= 2000);
  await passWait();
  (await server.next()).answer(500);
  (await server.next()).answer(200, page([], '1-1'));
  await phase('polling');
  await failAgain();
  await clock.advance(5000);
  (await server.next()).answer(500);
  // Polling has failed: the stream is tried at once.
  assert.ok(!isHistory(await server.next()));
});

test('a page that cannot go on from the id is a gap', async (t) => {
  const { server, stream, seen } = await failing(t, { cursor: { load: () => '1-3', save() {} } });
  const gaps = [];
  stream.onGap((gap) => gaps.push([gap.reason, gap.id]));
  const reset = { reason: 'expired', requested: '1-3', earliest: '1-9', head: '1-20' };
  (await server.next()).answer(200, page([], '1-20', { reset }));
  await until('the gap', () => gaps.length);
  assert.deepEqual(gaps, [['expired', '1-20']]);
  assert.deepEqual(seen, []);
  assert.equal(stream.getStatus().lastEventId, '1-20');
});

test('a page of history that does not come is given up after half a minute', async (t) => {
  const { server, clock, phase } = await failing(t);
  const exchange = await server.next();
  await clock.advance(30_000);
  await until('it is cut', () => exchange.isClosed);
  await phase('waiting');
});

test('close ends polling, also while a page is under way', async (t) => {
  const { server, stream, seen, clock } = await failing(t);
  const exchange = await server.next();
  stream.close();
  exchange.answer(200, page([event('1-1')], '1-1'));
  await until('no timer is left', () => clock.due().length === 0);
  await clock.advance(600_000);
  assert.deepEqual([seen, server.waiting], [[], 0]);
});

for (
  const [name, options] of [
    ['fallback false', { fallback: false }],
    ['historyUrl false', { historyUrl: false }],
  ]
) {
  test(`with ${name} there is no polling`, async (t) => {
    const { server, passWait } = await failing(t, options);
    for (let count = 0; count < 3; count++) {
      await passWait();
      const exchange = await server.next();
      assert.ok(!isHistory(exchange));
      exchange.answer(500);
    }
  });
}
