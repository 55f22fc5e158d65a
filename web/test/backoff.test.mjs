// Behaviour 4: delay = random(0, min(max, min·2ⁿ)), never less than what the service asks for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffDelay, defaultBackoff, retryAfter } from '../build/client/backoff.js';
import { startClient } from './support.mjs';

test('the delay is a random part of min·factorⁿ, at most max', () => {
  const rows = [[0, 500], [1, 1000], [2, 2000], [5, 16_000], [6, 30_000], [60, 30_000], [
    5000,
    30_000,
  ]];
  for (const [failures, step] of rows) {
    assert.equal(backoffDelay(defaultBackoff, failures, 0, 0), 0);
    assert.equal(backoffDelay(defaultBackoff, failures, 0, 0.5), step / 2);
    assert.equal(backoffDelay(defaultBackoff, failures, 0, 1), step);
  }
});

test('the jitter may be halved, or left out', () => {
  for (
    const [jitter, random, delay] of [['equal', 0, 500], ['equal', 1, 1000], ['none', 0, 1000], [
      'none',
      1,
      1000,
    ]]
  ) {
    assert.equal(backoffDelay({ ...defaultBackoff, jitter }, 1, 0, random), delay);
  }
});

test('it is never less than the service asks for, and who would be earlier is spread behind that', () => {
  for (let step = 0; step <= 100; step++) {
    const delay = backoffDelay(defaultBackoff, 0, 2000, step / 100);
    assert.ok(delay >= 2000 && delay <= 2500, `${delay}`);
  }
  assert.notEqual(
    backoffDelay(defaultBackoff, 0, 2000, 0.2),
    backoffDelay(defaultBackoff, 0, 2000, 0.8),
  );
  assert.equal(backoffDelay(defaultBackoff, 6, 2000, 1), 30_000);
  assert.ok(backoffDelay(defaultBackoff, 0, 60_000, 0.5) >= 60_000);
});

test('Retry-After is read as seconds or as a date, and a day is enough', () => {
  const now = Date.parse('Wed, 25 Nov 2026 10:00:00 GMT');
  const rows = [
    ['5', 5000],
    ['0', 0],
    [null, 0],
    ['', 0],
    ['soon', 0],
    ['-5', 0],
    ['Wed, 25 Nov 2026 10:00:07 GMT', 7000],
    ['Wed, 25 Nov 2026 09:00:00 GMT', 0],
    ['99999999999', 86_400_000],
  ];
  for (const [value, ms] of rows) assert.equal(retryAfter(value, now), ms, `${value}`);
});

test('failures in a row lengthen the delay; only a stream that was stable begins anew', async (t) => {
  const { stream, server, passWait, clock, phase } = await startClient(t);
  stream.open();
  const delays = [];
  for (let failure = 0; failure < 4; failure++) {
    (await server.next()).answer(500);
    delays.push(await passWait());
  }
  assert.deepEqual(delays, [250, 500, 1000, 2000]);
  assert.equal(stream.getStatus().attempt, 4);

  // Open for less than stableAfter: the count goes on.
  let exchange = (await server.next()).open({ retry: 0 });
  await phase('open');
  await clock.advance(9_999);
  assert.equal(stream.getStatus().attempt, 4);
  exchange.cut();
  assert.equal(await passWait(), 4000);

  exchange = (await server.next()).open({ retry: 0 });
  await phase('open');
  await clock.advance(10_000);
  assert.equal(stream.getStatus().attempt, 0);
  exchange.cut();
  assert.equal(await passWait(), 250);
});

test('the delay is at least the retry of the stream, and at least Retry-After', async (t) => {
  const { stream, server, passWait, phase } = await startClient(t);
  stream.open();
  const exchange = (await server.next()).open({ retry: 3000 });
  await phase('open');
  exchange.cut();
  const first = await passWait();
  assert.ok(first >= 3000 && first <= 3500, `${first}`);
  (await server.next()).answer(503, '', { 'Retry-After': '7' });
  const second = await passWait();
  assert.ok(second >= 7000 && second <= 7500, `${second}`);
});
