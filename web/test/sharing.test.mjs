// Behaviour 7: one stream for all tabs that want the same and may see the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, quiet } from './page-support.mjs';
import { tokenWith, until } from './support.mjs';

test('three tabs make one request; all get the events, their ids and the status', async (t) => {
  const { server, open } = await browser(t);
  const tabs = [open(), open(), open()];
  const exchange = (await server.next()).open({ id: '1-0', retry: 0 });
  for (const tab of tabs) await tab.phase('open');
  exchange.event('a', 1, '1-1').event('a', 2, '1-2');
  for (const tab of tabs) await tab.has('1-2');
  await quiet();
  exchange.event('tick', 3);
  for (const tab of tabs) await tab.has('');
  assert.equal(server.waiting, 0);
  const roles = tabs.map(({ stream }) => stream.getStatus().role).sort();
  assert.deepEqual(roles, ['follower', 'follower', 'leader']);
  for (const { seen, stream } of tabs) {
    assert.deepEqual(
      seen,
      ['1-1', '1-2', ''],
      'what has no id reaches all, and is read by none again',
    );
    assert.equal(stream.getStatus().lastEventId, '1-2');
    assert.equal(stream.getStatus().resumed, 'fresh');
  }
  exchange.cut();
  for (const tab of tabs) await tab.phase('waiting');
  const [first, ...others] = tabs.map(({ stream }) => stream.getStatus());
  for (const other of others) assert.equal(other.retryAt, first.retryAt);
  assert.equal(first.error.code, 'network');
});

test('when the leader closes, another goes on from the newest id; nothing is lost or doubled', async (t) => {
  const { server, open } = await browser(t);
  const leader = open();
  const exchange = (await server.next()).open();
  await leader.role('leader');
  const others = [open(), open()];
  for (const tab of others) await tab.phase('open');
  exchange.event('a', 1, '1-1');
  for (const tab of others) await tab.has('1-1');
  leader.stream.close();
  const next = await server.next();
  assert.equal(next.headers['last-event-id'], '1-1');
  next.open({ id: '1-1', resumed: 'complete' }).event('a', 2, '1-2');
  for (const tab of others) await tab.has('1-2');
  await until('a leader', () => others.some(({ stream }) => stream.getStatus().role === 'leader'));
  assert.deepEqual(others.map(({ seen }) => seen), [['1-1', '1-2'], ['1-1', '1-2']]);
  assert.deepEqual(leader.seen, ['1-1']);
  await quiet();
  assert.equal(server.waiting, 0);
});

test('a leader steps down when its page is left, and follows when it comes back', async (t) => {
  const { page, server, open } = await browser(t);
  const tab = open();
  const exchange = (await server.next()).open({ id: '1-4' });
  await until('the id', () => tab.stream.getStatus().lastEventId === '1-4');
  page.leave();
  await until('the stream is cut', () => exchange.isClosed);
  // Meanwhile another tab leads, and gets further.
  const other = open({ since: '1-4' });
  const next = (await server.next()).open({ id: '1-4' });
  next.event('a', 1, '1-5').event('a', 1, '1-6');
  await other.has('1-6');
  page.comeBack();
  await tab.role('follower');
  const fill = await server.next('the gap being filled');
  assert.equal(fill.url.pathname, '/api/v1/events/history');
  assert.equal(fill.url.searchParams.get('since'), '1-4');
  fill.answer(200, {
    events: [{ id: '1-5', type: 'a' }, { id: '1-6', type: 'a' }],
    next: '1-6',
    has_more: false,
    reset: null,
  });
  await tab.has('1-6');
  next.event('a', 1, '1-7');
  await tab.has('1-7');
  assert.deepEqual(tab.seen, ['1-5', '1-6', '1-7']);
});

test('a tab that comes later and wants the past reads it from history, then joins', async (t) => {
  const { server, open } = await browser(t);
  const leader = open();
  const exchange = (await server.next()).open({ id: '1-7' });
  await leader.role('leader');
  exchange.event('a', 1, '1-8');
  await leader.has('1-8');
  const late = open({ since: 'earliest' });
  const first = await server.next();
  assert.equal(first.url.pathname, '/api/v1/events/history');
  assert.equal(first.url.searchParams.get('since'), 'earliest');
  // It goes on live meanwhile.
  exchange.event('a', 1, '1-9');
  await leader.has('1-9');
  first.answer(200, {
    events: [{ id: '1-2', type: 'a' }],
    next: '1-5',
    has_more: true,
    reset: null,
  });
  const second = await server.next();
  assert.equal(second.url.searchParams.get('since'), '1-5');
  second.answer(200, {
    events: [{ id: '1-8', type: 'a' }],
    next: '1-8',
    has_more: false,
    reset: null,
  });
  await late.has('1-9');
  assert.deepEqual(late.seen, ['1-2', '1-8', '1-9']);
  assert.equal(late.stream.getStatus().role, 'follower');
});

test('a gap that history cannot fill now is tried until it can; one it cannot fill at all is a gap', async (t) => {
  const { server, open, clock } = await browser(t);
  const leader = open();
  const exchange = (await server.next()).open({ id: '1-7' });
  await leader.role('leader');
  const late = open({ cursor: { load: () => '1-3', save() {} } });
  (await server.next()).answer(503);
  await until('it was reported', () => late.logged.length);
  await clock.advance(5000);
  (await server.next()).answer(200, {
    events: [{ id: '1-5', type: 'a' }],
    next: '1-7',
    has_more: false,
    reset: null,
  });
  await late.has('1-5');

  const without = open({ historyUrl: false, cursor: { load: () => '1-3', save() {} } });
  await until('the gap', () => without.gaps.length);
  assert.deepEqual(without.gaps, ['unfilled']);
  exchange.event('a', 1, '1-8');
  await without.has('1-8');
  assert.deepEqual(without.seen, ['1-8']);
});

test('reconnect in a tab that follows ends the wait of the leader', async (t) => {
  const { server, open } = await browser(t);
  const tabs = [open(), open()];
  const exchange = (await server.next()).open({ id: '1-0' });
  for (const tab of tabs) await tab.phase('open');
  exchange.cut();
  for (const tab of tabs) await tab.phase('waiting');
  const follower = tabs.find(({ stream }) => stream.getStatus().role === 'follower');
  follower.stream.reconnect();
  (await server.next()).open({ id: '1-0' });
  for (const tab of tabs) await tab.phase('open');
});

test('a gap that the service tells reaches all tabs', async (t) => {
  const { server, open } = await browser(t);
  const tabs = [open(), open()];
  const exchange = (await server.next()).open({ id: '5-7' });
  for (const tab of tabs) await tab.phase('open');
  exchange.send('id: 1-2\nevent: stream.reset\ndata: {"reason":"unknown-epoch"}\n\n').event(
    'a',
    1,
    '1-3',
  );
  for (const tab of tabs) await tab.has('1-3');
  assert.deepEqual(tabs.map(({ gaps }) => gaps), [['unknown-epoch'], ['unknown-epoch']]);
});

test('a stream that cannot go on from the id is one gap in each tab, and reads no history', async (t) => {
  const { server, open } = await browser(t);
  const tabs = [open(), open()];
  const exchange = (await server.next()).open({ id: '1-7', retry: 0 });
  for (const tab of tabs) await tab.phase('open');
  exchange.event('a', 1, '1-8');
  for (const tab of tabs) await tab.has('1-8');
  exchange.cut();
  await tabs[0].phase('waiting');
  for (const { stream } of tabs) stream.reconnect();
  const next = await server.next();
  assert.equal(next.headers['last-event-id'], '1-8');
  next.open({ id: '2-90', resumed: 'gap', live: false });
  await quiet();
  next.send('id: 2-90\nevent: stream.reset\ndata: {"reason":"unknown-epoch"}\n\n').event(
    'a',
    1,
    '2-91',
  );
  for (const tab of tabs) await tab.has('2-91');
  assert.deepEqual(tabs.map(({ gaps }) => gaps), [['unknown-epoch'], ['unknown-epoch']]);
  assert.equal(server.waiting, 0);
});

test('a follower that has the lock but was behind fills what it lacks before it goes on', async (t) => {
  const { server, open } = await browser(t);
  const leader = open();
  const exchange = (await server.next()).open({ id: '1-7' });
  await leader.role('leader');
  const late = open({ since: '1-1' });
  const fill = await server.next();
  exchange.event('a', 1, '1-8');
  await leader.has('1-8');
  await quiet();
  leader.stream.close();
  // It leads from where the stream was, though it is not there itself yet.
  const next = await server.next();
  assert.equal(next.headers['last-event-id'], '1-8');
  next.open({ id: '1-8', resumed: 'complete' }).event('a', 1, '1-9');
  fill.answer(200, {
    events: [{ id: '1-2', type: 'a' }],
    next: '1-8',
    has_more: false,
    reset: null,
  });
  await late.has('1-9');
  assert.deepEqual(late.seen.filter((id) => id !== '1-8'), ['1-2', '1-9']);
});

const sub = (claims) => ({ token: tokenWith(claims) });
const rows = [
  ['no token, the same URL', {}, {}, 1],
  ['other filters', { filters: { type: 'a' } }, { filters: { type: 'b' } }, 2],
  ['another gap policy', { gap: 'head' }, { gap: 'earliest' }, 2],
  ['another beginning', { since: 'now' }, { since: 'now' }, 1],
  ['tabs: each', { tabs: 'each' }, { tabs: 'each' }, 2],
  [
    'the same user, other tokens',
    sub({ sub: 'ann', exp: 1, iat: 1, nbf: 1, jti: 'x' }),
    sub({ jti: 'y', exp: 2, sub: 'ann' }),
    1,
  ],
  ['another user', sub({ sub: 'ann' }), sub({ sub: 'bob' }), 2],
  ['another session', sub({ sub: 'ann', sid: '1' }), sub({ sub: 'ann', sid: '2' }), 2],
  ['other contexts', sub({ sub: 'ann', contexts: ['a'] }), sub({ sub: 'ann', contexts: ['b'] }), 2],
  ['a token and none', sub({ sub: 'ann' }), {}, 2],
  ['tokens that cannot be read', { token: 'opaque' }, { token: 'opaque' }, 2],
  ['tokens that cannot be read, with one shareKey', { token: 'x1', shareKey: 'ann' }, {
    token: 'x2',
    shareKey: 'ann',
  }, 1],
  ['other shareKeys', { token: 'x', shareKey: 'ann' }, { token: 'x', shareKey: 'bob' }, 2],
  ['a shareKey that looks like no token', { shareKey: '' }, {}, 2],
];
for (const [name, one, two, streams] of rows) {
  test(`${name}: ${streams === 1 ? 'shared' : 'not shared'}`, async (t) => {
    const { server, open } = await browser(t);
    const tabs = [open(one), open(two)];
    for (let count = 0; count < streams; count++) (await server.next()).open({ id: '1-0' });
    for (const tab of tabs) await tab.phase('open');
    await quiet();
    assert.equal(server.waiting, 0);
  });
}

test('a tab that was opened anew while its id was awaited is among the others once', async (t) => {
  const { server, open } = await browser(t);
  const loads = [];
  const tab = open({ cursor: { load: () => new Promise((done) => loads.push(done)), save() {} } });
  await until('a load', () => loads.length === 1);
  tab.stream.close();
  tab.stream.open();
  await until('another load', () => loads.length === 2);
  for (const answer of loads) {
    answer('1-3');
    await quiet();
  }
  const exchange = (await server.next()).open({ id: '1-3', resumed: 'complete' });
  await tab.phase('open');
  exchange.event('tick', 1).event('a', 2, '1-4');
  await tab.has('1-4');
  await quiet();
  assert.deepEqual([tab.seen, server.waiting], [['', '1-4'], 0]);
  assert.equal(tab.stream.getStatus().role, 'leader');
});

test('a token of other claims leaves the tabs that share by the old ones', async (t) => {
  const { server, open } = await browser(t);
  let user = 'ann';
  const token = () => tokenWith({ sub: user });
  const tab = open({ token });
  const exchange = (await server.next()).open({ id: '1-1' });
  await tab.role('leader');
  const other = open({ token: tokenWith({ sub: 'ann' }) });
  await other.phase('open');
  user = 'bob';
  exchange.end('expired', { retry: 0 });
  const requests = [await server.next(), await server.next()];
  for (const request of requests) request.open({ id: '1-1' });
  const users = requests.map(({ headers }) =>
    JSON.parse(Buffer.from(headers.authorization.split('.')[1], 'base64url')).sub
  );
  assert.deepEqual(users.sort(), ['ann', 'bob']);
  await tab.role('leader');
  await other.role('leader');
});

test('a leader that does not answer loses the lock to a tab that asks', async (t) => {
  const { page, server, clock, open, locks } = await browser(t);
  // A frozen tab: it holds the lock of that name, and nothing more is heard of it.
  let name = null;
  const { request } = locks;
  locks.request = (...all) => {
    name ??= all[0];
    return request(...all);
  };
  const first = open();
  await until('the name', () => name);
  (await server.next()).open({ id: '1-0' });
  await first.role('leader');
  const second = open();
  await second.phase('open');
  let isStolen = false;
  first.stream.close();
  (await server.next()).open({ id: '1-0' });
  await second.role('leader');
  const frozen = request(name, { steal: true }, () => new Promise(() => {}));
  frozen.catch(() => isStolen = true);
  await second.role('follower');
  page.show();
  await quiet();
  await clock.advance(2_999);
  assert.equal(isStolen, false);
  await clock.advance(1);
  await until('the lock is taken', () => isStolen);
  (await server.next()).open({ id: '1-0' });
  await second.role('leader');
});

test('a leader that answers keeps the lock', async (t) => {
  const { page, server, clock, open } = await browser(t);
  const tabs = [open(), open()];
  const exchange = (await server.next()).open({ id: '1-0' });
  for (const tab of tabs) await tab.phase('open');
  page.show();
  await quiet();
  await clock.advance(10_000);
  await quiet();
  assert.deepEqual([exchange.isClosed, server.waiting], [false, 0]);
});

test('a leader says now and then that it is there, and a tab that hears nothing asks', async (t) => {
  const { server, clock, open } = await browser(t);
  const tabs = [open({ silenceMs: 0 }), open({ silenceMs: 0 })];
  const exchange = (await server.next()).open({ id: '1-0' });
  for (const tab of tabs) await tab.phase('open');
  for (let minute = 0; minute < 40; minute++) {
    await clock.advance(15_000);
    await quiet();
  }
  assert.deepEqual([exchange.isClosed, server.waiting], [false, 0]);
});

test('what was thrown stays in the tab that caught it', async (t) => {
  const { open } = await browser(t);
  const token = () => Promise.reject(Object.assign(new Error('no'), { fn() {} }));
  const tabs = [open({ token, shareKey: 'ann' }), open({ token: 'x', shareKey: 'ann' })];
  await until('an error', () => tabs[0].stream.getStatus().error);
  await until(
    'told',
    () => tabs[1].stream.getStatus().error || tabs[1].stream.getStatus().role === 'leader',
  );
});

test('a tab that is slow lets batches go and reads them from history', async (t) => {
  const { server, open } = await browser(t);
  const leader = open();
  const exchange = (await server.next()).open({ id: '1-0' });
  await leader.role('leader');
  const slow = open({ since: '1-0', cursor: { load: () => '0-1', save() {} } });
  const fill = await server.next('the slow tab reading history');
  // All this waits behind the page of history, and is more than may.
  for (let position = 1; position <= 300; position++) {
    exchange.event('a', 1, `1-${position}`);
    await leader.has(`1-${position}`);
  }
  await quiet();
  fill.answer(200, { events: [], next: '1-0', has_more: false, reset: null });
  await slow.has('1-150');
  exchange.event('a', 1, '1-301');
  const again = await server.next('the rest being read');
  const since = Number(again.url.searchParams.get('since').slice(2));
  const events = [];
  for (let position = since + 1; position <= 300; position++) {
    events.push({ id: `1-${position}`, type: 'a' });
  }
  again.answer(200, { events, next: '1-300', has_more: false, reset: null });
  await slow.has('1-301');
  assert.deepEqual(slow.seen, Array.from({ length: 301 }, (_, index) => `1-${index + 1}`));
});

test('where locks are refused, a tab has a stream of its own', async (t) => {
  const { server, open, locks } = await browser(t);
  locks.request = () => Promise.reject(new DOMException('no', 'SecurityError'));
  const tab = open();
  (await server.next()).open({ id: '1-0' });
  await tab.role('solo');
  await tab.phase('open');
});

test('where the page module cannot be loaded or locks are missing, the stream does without', async (t) => {
  const { server, open } = await browser(t);
  globalThis.navigator.locks = undefined;
  const tab = open();
  (await server.next()).open({ id: '1-0' });
  await tab.phase('open');
  assert.equal(tab.stream.getStatus().role, 'solo');
});
