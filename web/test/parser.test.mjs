// Behaviour 10: linear time, bounded memory, line ends of all kinds cut anywhere.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createParser, parseEventStream } from '../build/client/parser.js';

const vectors = JSON.parse(
  readFileSync(new URL('../../Tests/Fixtures/event-stream.json', import.meta.url), 'utf8'),
);

/** The bytes of a vector, in the pieces that it names. */
const piecesOf = ({ stream, chunks }) =>
  chunks
    ? chunks.map((chunk) => new Uint8Array(Buffer.from(chunk, 'base64')))
    : [new TextEncoder().encode(stream)];

function parse(pieces) {
  const parser = createParser();
  const frames = pieces.flatMap((piece) => parser.push(piece));
  return {
    events: frames.map(({ type, data, id }) => [type, data, id]),
    id: parser.id(),
    retry: parser.retryMs() || undefined,
  };
}

for (const vector of vectors) {
  test(`vector at every split position: ${vector.name}`, () => {
    const pieces = piecesOf(vector);
    const bytes = new Uint8Array(Buffer.concat(pieces));
    const expected = { events: vector.events, id: vector.id ?? '', retry: vector.retry };
    assert.deepEqual(parse(pieces), expected, 'as given');
    assert.deepEqual(parse([...bytes].map((byte) => Uint8Array.of(byte))), expected, 'bytewise');
    for (let at = 0; at <= bytes.length; at++) {
      assert.deepEqual(parse([bytes.subarray(0, at), bytes.subarray(at)]), expected, `at ${at}`);
    }
  });
}

test('there are vectors enough', () => {
  assert.ok(vectors.length >= 30);
  assert.ok(vectors.some(({ chunks }) => chunks));
});

test('the time for an event grows with its size, not faster', () => {
  const time = (size, piece) => {
    const parser = createParser();
    const bytes = new TextEncoder().encode('data: ' + 'x'.repeat(size) + '\n\n');
    const start = performance.now();
    let frames = [];
    for (let at = 0; at < bytes.length; at += piece) {
      frames = parser.push(bytes.subarray(at, at + piece));
    }
    assert.equal(frames[0].data.length, size);
    return performance.now() - start;
  };
  time(1e6, 1000);
  // Quadratic, the larger would take 100 times as long – minutes, not fractions of a second.
  assert.ok(time(13e6, 1000) < 100 * Math.max(20, time(1.3e6, 1000)));
  assert.ok(time(13e6, 7e6) < 5000);
});

test('a hundred thousand small frames in one chunk are read in well under a second each 10,000', () => {
  const count = 100_000;
  const bytes = new TextEncoder().encode('id: 1-2\nevent: t\ndata: {"a":1}\n\n'.repeat(count));
  const start = performance.now();
  assert.equal(createParser().push(bytes).length, count);
  assert.ok(performance.now() - start < 10_000);
});

test('of a block that is too large no data are kept, but its id counts and what follows is read', () => {
  const parser = createParser(100);
  const push = (text) => parser.push(new TextEncoder().encode(text));
  assert.deepEqual(push('id: 1\ndata: ' + 'x'.repeat(60) + '\n'), []);
  assert.deepEqual(push('data: ' + 'x'.repeat(60) + '\n'), []);
  const [frame] = push('id: 2\n\n');
  assert.equal(frame.oversize, true);
  assert.equal(frame.data, '');
  assert.equal(frame.id, '2');
  const [next] = push('data: ' + 'y'.repeat(90) + '\n\n');
  assert.equal(next.data.length, 90);
  assert.equal(next.oversize, false);
});

test('a line that never ends takes no more memory than it may', () => {
  const parser = createParser(1000);
  const piece = new Uint8Array(1 << 16).fill(120);
  const before = process.memoryUsage().heapUsed;
  for (let count = 0; count < 2000; count++) assert.deepEqual(parser.push(piece), []);
  globalThis.gc?.();
  assert.ok(process.memoryUsage().heapUsed - before < 64 << 20, '128 MB came, a fraction is kept');
  const frames = parser.push(new TextEncoder().encode('\ndata: small\n\ndata: next\n\n'));
  assert.deepEqual(frames.map(({ data, oversize }) => [data, oversize]), [['', true], [
    'next',
    false,
  ]]);
});

test('a comment of any length is no part of an event', () => {
  const parser = createParser(10);
  const frames = parser.push(new TextEncoder().encode(':' + 'x'.repeat(100) + '\ndata: a\n\n'));
  assert.deepEqual(frames.map(({ data, oversize }) => [data, oversize]), [['a', false]]);
});

test('parseEventStream reads a body, and lets go of it when nobody reads on', async () => {
  let isCancelled = false;
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('data: a\n\ndata: b\n\nda'));
      controller.enqueue(new TextEncoder().encode('ta: c\n\ndata: unfinished\n'));
    },
    cancel() {
      isCancelled = true;
    },
  });
  const seen = [];
  for await (const { data } of parseEventStream(body)) {
    seen.push(data);
    if (data === 'c') break;
  }
  assert.deepEqual(seen, ['a', 'b', 'c']);
  assert.ok(isCancelled);
});

test('parseEventStream ends with its body, and throws what the body throws', async () => {
  const ended = new Blob(['data: a\n\ndata: unfinished\n']).stream();
  const seen = [];
  for await (const { data } of parseEventStream(ended)) seen.push(data);
  assert.deepEqual(seen, ['a']);
  const failed = new ReadableStream({ pull: (controller) => controller.error(new Error('cut')) });
  await assert.rejects(async () => {
    for await (const frame of parseEventStream(failed)) assert.fail(frame);
  }, /cut/);
});
