// Behaviours 5 and 6: network, sleep, visibility, the back/forward cache.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { installPage } from './page-support.mjs';
import { startClient, until } from './support.mjs';

/** A client in a page, with its stream open. */
async function opened(t, options) {
  const page = installPage({ locks: undefined });
  const started = await startClient(t, { tabs: 'each', ...options });
  started.stream.open();
  started.exchange = (await started.server.next()).open({ id: '1-3', heartbeat: 15, retry: 0 });
  await until('the id', () => started.stream.getStatus().lastEventId === '1-3');
  return { page, ...started };
}

test('offline: no stream and no attempt; online: at once, from the same id', async (t) => {
  const { page, stream, server, exchange, phase, clock } = await opened(t);
  page.goOffline();
  await phase('offline');
  await until('the stream is cut', () => exchange.isClosed);
  await clock.advance(600_000);
  assert.equal(server.waiting, 0);
  assert.equal(stream.getStatus().retryAt, null);
  page.goOnline();
  assert.equal((await server.next()).headers['last-event-id'], '1-3');
});

test('offline while waiting: no attempts; a page that begins offline waits too', async (t) => {
  const { page, server, exchange, phase, clock } = await opened(t);
  exchange.cut();
  await phase('waiting');
  page.goOffline();
  await phase('offline');
  await clock.advance(600_000);
  assert.equal(server.waiting, 0);

  const other = await startClient(t, { tabs: 'each' });
  other.stream.open();
  await other.phase('offline');
  page.goOnline();
  await other.server.next();
});

for (const what of ['goOnline', 'show', 'resume']) {
  test(`${what}: what waits is tried at once`, async (t) => {
    const { page, server, exchange, phase } = await opened(t);
    exchange.cut();
    await phase('waiting');
    page[what]();
    await server.next();
  });

  test(`${what}: a stream that was heard lately stays, one that was silent too long is replaced`, async (t) => {
    const { page, server, exchange, clock } = await opened(t);
    await clock.advance(30_000);
    page[what]();
    await clock.advance(0);
    assert.deepEqual([exchange.isClosed, server.waiting], [false, 0]);
    // Asleep, no timer fires, but the clock goes on.
    const { now } = clock;
    clock.now = () => now() + 3_600_000;
    page[what]();
    assert.equal((await server.next()).headers['last-event-id'], '1-3');
    await until('the old one is cut', () => exchange.isClosed);
  });
}

test('waking from sleep is seen by the clock: silence is looked for at once', async (t) => {
  const { server, exchange, clock } = await opened(t, { silenceMs: 3_600_000 });
  const { now } = clock;
  clock.now = () => now() + 7_200_000;
  await clock.advance(10_000);
  await server.next();
  await until('the old one is cut', () => exchange.isClosed);
});

test('behaviour 6: pagehide aborts, pageshow of a kept page opens with the cursor', async (t) => {
  const { page, stream, server, exchange, clock, phase } = await opened(t);
  page.leave();
  await until('the stream is cut', () => exchange.isClosed);
  await phase('idle');
  await clock.advance(60_000);
  assert.equal(server.waiting, 0);
  page.goOnline();
  page.comeBack(false);
  await clock.advance(0);
  assert.equal(server.waiting, 0, 'only a page that was kept comes back');
  page.comeBack();
  assert.equal((await server.next()).headers['last-event-id'], '1-3');
  void stream;
});

test('hidden closeAfterMs: closed when nobody looks for that long, opened when somebody does', async (t) => {
  const { page, server, exchange, clock, phase } = await opened(t, {
    hidden: { closeAfterMs: 20_000 },
  });
  page.hide();
  await clock.advance(19_000);
  page.show();
  await clock.advance(10_000);
  assert.equal(exchange.isClosed, false);
  page.hide();
  await clock.advance(20_000);
  await phase('idle');
  await until('the stream is cut', () => exchange.isClosed);
  page.show();
  assert.equal((await server.next()).headers['last-event-id'], '1-3');
});

test('hidden closeAfterMs counts for a page that begins unseen as well', async (t) => {
  const page = installPage();
  page.hide();
  const { stream, server, clock, phase } = await startClient(t, {
    tabs: 'each',
    hidden: { closeAfterMs: 1000 },
  });
  stream.open();
  (await server.next()).open();
  await phase('open');
  await until('the page is followed', () => clock.due().includes(clock.now() + 1000));
  await clock.advance(1000);
  await phase('idle');
});

test('hidden stay, the default: the stream stays', async (t) => {
  const { page, exchange, clock, server } = await opened(t, { silenceMs: 0 });
  page.hide();
  await clock.advance(3_600_000);
  assert.deepEqual([exchange.isClosed, server.waiting], [false, 0]);
});

test('after close the page may do what it likes', async (t) => {
  const { page, stream, server, clock } = await opened(t);
  stream.close();
  for (const what of ['goOffline', 'goOnline', 'hide', 'show', 'leave', 'comeBack', 'resume']) {
    page[what]();
  }
  await clock.advance(60_000);
  assert.equal(server.waiting, 0);
  assert.deepEqual(clock.due(), []);
});
