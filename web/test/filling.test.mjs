// What a tab that is behind the shared stream lacks: read from history, or told as a gap.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, quiet } from './page-support.mjs';
import { tokenWith, until } from './support.mjs';

const page = (ids, next, more = {}) => ({
  events: ids.map((id) => ({ id, type: 'a' })),
  next,
  has_more: false,
  reset: null,
  ...more,
});

const token = () => tokenWith({ sub: 'ann' });

/** What a tab waits for that waits for another node: no other timer is due then. */
const idleMs = 875;

/** A leader whose stream is at 1-7, and a tab that has 1-3 and asks history. */
async function behind(t, options = {}, { at = '1-7', has = '1-3' } = {}) {
  const started = await browser(t);
  const { server, clock, open } = started;
  const leader = open({ token });
  const exchange = (await server.next()).open({ id: at });
  await until('the id', () => leader.stream.getStatus().lastEventId === at);
  const late = open({
    token,
    random: () => 0.375,
    cursor: { load: () => has, save() {} },
    ...options,
  });
  const fill = await server.next('history');
  assert.equal(fill.url.pathname, '/api/v1/events/history');
  assert.equal(fill.url.searchParams.get('since'), has);
  /** Lets the tab wait for another node, and asks again. */
  const nextPage = async () => {
    await until('a wait', () => clock.due().includes(clock.now() + idleMs));
    await clock.advance(idleMs);
    return server.next('history once more');
  };
  return { ...started, leader, late, exchange, fill, nextPage };
}

/** A source of tokens that tells what it was asked; `claims` for the second one. */
function source(claims = { sub: 'ann' }) {
  const asked = [];
  return {
    asked,
    token(why) {
      asked.push(why);
      return tokenWith(asked.length === 1 ? { sub: 'ann' } : { ...claims, jti: why });
    },
  };
}

test('401 of history: one new token, and the gap is filled', async (t) => {
  const { asked, token } = source();
  const { server, late, exchange, fill } = await behind(t, { token });
  fill.answer(401);
  const second = await server.next();
  assert.equal(second.url.searchParams.get('since'), '1-3');
  assert.notEqual(second.headers.authorization, fill.headers.authorization);
  second.answer(200, page(['1-5'], '1-6', { has_more: true }));
  // It was accepted: the next refusal is a first one again.
  (await server.next()).answer(401);
  (await server.next()).answer(200, page(['1-7'], '1-7'));
  exchange.event('a', 1, '1-8');
  await late.has('1-8');
  assert.deepEqual([late.seen, late.gaps], [['1-5', '1-7', '1-8'], []]);
  assert.deepEqual(asked, ['first', 'rejected', 'rejected']);
  assert.equal(late.stream.getStatus().role, 'follower');
});

const refused = [
  ['401 twice', [401, 401], { token: source().token }],
  ['401 where nobody can be asked for another token', [401], { token: token() }],
  ['403', [403], {}],
  ['404', [404], {}],
  ['503 and then 403', [503, 403], {}],
  ['429 and then 204', [429, 204], {}],
];
for (const [name, statuses, options] of refused) {
  test(`history refuses: ${name}: a gap, and it goes on with the stream`, async (t) => {
    const { server, clock, late, exchange, fill } = await behind(t, options);
    exchange.event('a', 1, '1-8');
    for (const [count, status] of statuses.entries()) {
      if (count > 0 && statuses[count - 1] !== 401) {
        await until('a wait', () => clock.due().includes(clock.now() + 2500));
        await clock.advance(2500);
      }
      (count > 0 ? await server.next() : fill).answer(status);
    }
    await late.has('1-8');
    assert.deepEqual([late.seen, late.gaps], [['1-8'], ['unfilled']]);
    await quiet();
    assert.equal(server.waiting, 0);
    assert.equal(late.stream.getStatus().lastEventId, '1-8');
  });
}

test('a new token of other claims reads no history for the tabs of the old ones', async (t) => {
  const { server, late, fill } = await behind(t, { token: source({ sub: 'bob' }).token });
  fill.answer(401);
  const own = await server.next();
  assert.equal(own.url.pathname, '/api/v1/events/stream');
  assert.equal(own.headers['last-event-id'], '1-3');
  own.open({ id: '1-3', resumed: 'complete' }).event('a', 1, '1-4');
  await late.has('1-4');
  assert.equal(late.stream.getStatus().role, 'leader');
  assert.deepEqual([late.seen, late.gaps, server.waiting], [['1-4'], [], 0]);
});

test('history of a node that lags: nothing is handed over before what lies between', async (t) => {
  const { server, late, exchange, fill, nextPage } = await behind(t);
  exchange.event('a', 1, '1-8');
  fill.answer(200, page(['1-4'], '1-5'));
  await late.has('1-4');
  const second = await nextPage();
  assert.equal(second.url.searchParams.get('since'), '1-5');
  second.answer(200, page([], '1-5'));
  (await nextPage()).answer(200, page(['1-6'], '1-7'));
  await late.has('1-8');
  assert.deepEqual([late.seen, late.gaps], [['1-4', '1-6', '1-8'], []]);
  await quiet();
  assert.equal(server.waiting, 0);
});

test('history that gets no further for half a minute leaves a gap', async (t) => {
  const { clock, server, late, exchange, fill, nextPage } = await behind(t);
  const began = clock.now();
  exchange.event('a', 1, '1-8');
  fill.answer(200, page(['1-4'], '1-5'));
  for (let count = 0; count < 30; count++) {
    assert.deepEqual(late.gaps, []);
    // Also one that says that there is more, which would be asked without end.
    (await nextPage()).answer(200, page([], '1-5', { has_more: count % 2 === 0 }));
  }
  await late.has('1-8');
  assert.deepEqual([late.seen, late.gaps], [['1-4', '1-8'], ['unfilled']]);
  assert.equal(clock.now() - began, 30 * idleMs);
  assert.equal(server.waiting, 0);
});

test('a gap that history tells is told once, and what follows it is waited for', async (t) => {
  const { server, late, exchange, fill, nextPage } = await behind(t);
  exchange.event('a', 1, '1-8');
  const reset = { reason: 'expired', requested: '1-3', earliest: '1-5', head: '1-6' };
  fill.answer(200, page([], '1-4', { reset, has_more: true }));
  (await server.next()).answer(200, page(['1-5'], '1-6'));
  (await nextPage()).answer(200, page(['1-7'], '1-7'));
  await late.has('1-8');
  assert.deepEqual([late.seen, late.gaps], [['1-5', '1-7', '1-8'], ['expired']]);
  await quiet();
  assert.equal(server.waiting, 0);
});

test('ids that cannot be compared: the last page of history is the end', async (t) => {
  const { server, late, exchange, fill } = await behind(t, {}, { at: 'seven', has: 'three' });
  exchange.event('a', 1, 'eight');
  fill.answer(200, page(['five', 'nine'], 'nine'));
  // The batch does not join on to that either, as far as anybody can tell.
  (await server.next()).answer(200, page([], 'nine'));
  await late.has('eight');
  assert.deepEqual([late.seen, late.gaps], [['five', 'nine', 'eight'], []]);
  await quiet();
  assert.equal(server.waiting, 0);
});

test('a tab that is closed while history lags asks no more', async (t) => {
  const { clock, server, late, fill } = await behind(t);
  fill.answer(200, page([], '1-5'));
  await until('a wait', () => clock.due().includes(clock.now() + idleMs));
  late.stream.close();
  await clock.advance(30_000);
  assert.deepEqual([server.waiting, late.gaps], [0, []]);
});
