// Behaviour 2, and what is handed over to whom.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startClient, until } from './support.mjs';

/** Opens a client and its stream. */
async function connected(t, options) {
  const started = await startClient(t, options);
  started.stream.open();
  started.exchange = (await started.server.next()).open();
  await started.phase('open');
  return started;
}

test('an event is handed over with its type, id and data', async (t) => {
  const { stream, exchange, clock } = await connected(t);
  const seen = [];
  stream.on('task.created', (event) => seen.push(event));
  exchange.event('task.created', { new: { id: 7 } }, '1-1');
  await until('an event', () => seen.length);
  assert.deepEqual(seen, [{
    type: 'task.created',
    id: '1-1',
    data: { new: { id: 7 } },
    receivedAt: clock.now(),
    replayed: false,
  }]);
  assert.equal(stream.getStatus().lastEventId, '1-1');
  assert.equal(stream.getStatus().lastEventAt, clock.now());
});

test('handlers name a type, the beginning of types, or all; each is called', async (t) => {
  const { stream, exchange } = await connected(t);
  const seen = [];
  const note = (name) => ({ type }) => seen.push(`${name} ${type}`);
  stream.on('task.created', note('exact'));
  stream.on('task.*', note('prefix'));
  stream.on('*', note('all'));
  stream.on('other.*', note('other'));
  exchange.event('task.created', 1, '1-1').event('taskless', 2, '1-2');
  await until('all', () => seen.includes('all taskless'));
  assert.deepEqual(seen, [
    'exact task.created',
    'prefix task.created',
    'all task.created',
    'all taskless',
  ]);
});

test('what on returns ends it, also for a handler that is there twice', async (t) => {
  const { stream, exchange } = await connected(t);
  let count = 0;
  const handler = () => count++;
  const end = stream.on('*', handler);
  stream.on('*', handler);
  exchange.event('a', 1, '1-1');
  await until('two calls', () => count === 2);
  end();
  end();
  exchange.event('a', 1, '1-2');
  await until('the event', () => stream.getStatus().lastEventId === '1-2');
  assert.equal(count, 3);
});

test('control frames reach only who names them, never *', async (t) => {
  const { stream, exchange } = await connected(t);
  const all = [];
  const health = [];
  stream.on('*', ({ type }) => all.push(type));
  stream.on('stream.*', ({ type }) => all.push(type));
  stream.on('stream.health', ({ data }) => health.push(data));
  exchange.send('event: stream.health\ndata: {"ready":false,"reasons":["database"]}\n\n');
  exchange.send('id: 1-5\nevent: stream.cursor\ndata: {}\n\n');
  await until('the cursor', () => stream.getStatus().lastEventId === '1-5');
  assert.deepEqual(all, []);
  assert.deepEqual(health, [{ ready: false, reasons: ['database'] }]);
});

test('the id moves only after all handlers of the event have returned', async (t) => {
  const saved = [];
  const { stream, exchange } = await connected(t, {
    cursor: { load: () => null, save: (id) => saved.push(id) },
  });
  const seen = [];
  stream.on('*', ({ id }) => seen.push([id, stream.getStatus().lastEventId, [...saved]]));
  stream.on('*', () => seen.push(saved.includes('1-1')));
  exchange.event('a', 1, '1-1');
  await until('saved', () => saved.includes('1-1'));
  assert.deepEqual(seen, [['1-1', '1-0', ['1-0']], false]);
});

test('a handler that throws is reported, and neither stops the stream nor blocks the id', async (t) => {
  const { stream, exchange, logged } = await connected(t);
  const seen = [];
  const error = new Error('of the handler');
  stream.on('*', () => {
    throw error;
  });
  stream.on('*', async () => {
    throw error;
  });
  stream.on('*', ({ id }) => seen.push(id));
  exchange.event('a', 1, '1-1').event('a', 1, '1-2');
  await until('both', () => seen.length === 2);
  await until('all reports', () => logged.length === 4);
  assert.equal(stream.getStatus().lastEventId, '1-2');
  assert.equal(stream.getStatus().phase, 'open');
  assert.ok(logged.every(({ level, cause }) => level === 'error' && cause === error));
});

test('a cursor that cannot be saved or loaded is reported, and the stream goes on', async (t) => {
  const cursor = {
    load: () => Promise.reject(new Error('no load')),
    save() {
      throw new Error('no save');
    },
  };
  const { stream, exchange, logged } = await connected(t, { cursor });
  exchange.event('a', 1, '1-1');
  await until('the event', () => stream.getStatus().lastEventId === '1-1');
  const texts = logged.map(({ text }) => text);
  assert.ok(texts.includes('cursor.load has failed') && texts.includes('cursor.save has failed'));
});

test('an event that was received already is not handed over again', async (t) => {
  const { stream, exchange } = await connected(t);
  const ids = [];
  stream.on('*', ({ id }) => ids.push(id));
  for (const id of ['1-1', '1-2', '1-1', '1-2', '2-1', '1-3', '2-10', '2-9', '2-11']) {
    exchange.event('a', 1, id);
  }
  await until('the last', () => ids.includes('2-11'));
  assert.deepEqual(ids, ['1-1', '1-2', '2-1', '2-10', '2-11']);
});

test('events without an id of their own are of the moment: each is handed over', async (t) => {
  const { stream, exchange } = await connected(t);
  const seen = [];
  stream.on('*', ({ data, id }) => seen.push([data, id]));
  exchange.event('a', 1, '1-1').event('tick', 2).event('tick', 2);
  await until('three', () => seen.length === 3);
  assert.equal(stream.getStatus().lastEventId, '1-1', 'they leave the id where it is');
  exchange.event('a', 4, '1-2').event('tick', 5);
  await until('all', () => seen.length === 5);
  assert.deepEqual(seen, [[1, '1-1'], [2, ''], [2, ''], [4, '1-2'], [5, '']]);
  assert.equal(stream.getStatus().lastEventId, '1-2');
});

test('what is replayed is marked so, up to stream.live', async (t) => {
  const { stream, server, phase } = await startClient(t);
  const seen = [];
  stream.on('*', ({ replayed }) => seen.push(replayed));
  stream.open();
  const exchange = (await server.next()).open({ live: false });
  await phase('open');
  exchange.event('a', 1, '1-1');
  await until('one', () => seen.length === 1);
  exchange.event('a', 1, '1-2').send('id: 1-2\nevent: stream.live\ndata: {}\n\n').event(
    'a',
    1,
    '1-3',
  );
  await until('three', () => seen.length === 3);
  exchange.event('a', 1, '1-4');
  await until('four', () => seen.length === 4);
  assert.deepEqual(seen, [true, true, false, false]);
});

test('a schema, a function or a Standard Schema, decides what is handed over', async (t) => {
  const seen = [];
  const standard = (validate) => ({ '~standard': { version: 1, vendor: 'test', validate } });
  const { stream, exchange, logged } = await connected(t, {
    schemas: {
      fn(value) {
        if (typeof value !== 'number') throw new TypeError('no number');
        return value + 1;
      },
      std: standard((value) =>
        value > 0 ? { value: value * 2 } : { issues: [{ message: 'not positive' }] }
      ),
      late: standard(async (value) => ({ value })),
    },
  });
  stream.on('*', ({ type, data }) => seen.push([type, data]));
  exchange.event('fn', 1, '1-1').event('fn', 'x', '1-2').event('std', 2, '1-3').event(
    'std',
    -2,
    '1-4',
  );
  exchange.event('late', 1, '1-5').send('id: 1-6\nevent: raw\ndata: {no json\n\n').event(
    'free',
    null,
    '1-7',
  );
  await until('the last', () => stream.getStatus().lastEventId === '1-7');
  assert.deepEqual(seen, [['fn', 2], ['std', 4], ['free', null]]);
  assert.deepEqual(logged.map(({ level, text }) => [level, text.slice(0, 8)]), [
    ['warn', 'fn 1-2: '],
    ['warn', 'std 1-4:'],
    ['warn', 'late 1-5'],
    ['warn', 'raw 1-6:'],
  ]);
  assert.match(logged[1].text, /not positive/);
});

test('onInvalid as a function gets the frame and the error', async (t) => {
  const refused = [];
  const { stream, exchange } = await connected(t, {
    maxEventBytes: 1000,
    onInvalid: (raw, error) => refused.push([raw.id, error.code]),
  });
  stream.on('*', () => {});
  exchange.send('id: 1-1\nevent: a\ndata: {\n\n').event('a', 'x'.repeat(2000), '1-2').event(
    'a',
    1,
    '1-3',
  );
  await until('the last', () => stream.getStatus().lastEventId === '1-3');
  assert.deepEqual(refused, [['1-1', 'invalid-event'], ['1-2', 'oversize']]);
});

test('onInvalid error closes the client, behind the event that was invalid', async (t) => {
  const { stream, exchange, phase } = await connected(t, { onInvalid: 'error' });
  const seen = [];
  stream.on('*', ({ id }) => seen.push(id));
  exchange.send('id: 1-1\nevent: a\ndata: {\n\nid: 1-2\nevent: a\ndata: 1\n\n');
  await phase('closed');
  assert.equal(stream.getStatus().error.code, 'invalid-event');
  assert.equal(stream.getStatus().lastEventId, '1-1');
  assert.deepEqual(seen, []);
});

test('a handler that closes the client is the last that is called', async (t) => {
  const { stream, exchange } = await connected(t);
  const seen = [];
  stream.on('*', ({ id }) => {
    seen.push(id);
    stream.close();
  });
  exchange.send('id: 1-1\nevent: a\ndata: 1\n\nid: 1-2\nevent: a\ndata: 2\n\n');
  await until('closed', () => exchange.isClosed);
  assert.deepEqual(seen, ['1-1']);
  assert.equal(stream.getStatus().lastEventId, '1-1');
});

test('a gap tells its reason, and the id goes where the stream goes on, be it back', async (t) => {
  const { stream, exchange } = await connected(t);
  const seen = [];
  stream.on('*', ({ id }) => seen.push(id));
  stream.onGap(({ reason, id }) => seen.push([reason, id]));
  exchange.event('a', 1, '2-50');
  exchange.send(
    'id: 1-7\nevent: stream.reset\ndata: {"reason":"ahead","requested":"","earliest":"1-0","head":"1-7"}\n\n',
  );
  exchange.event('a', 1, '1-8');
  await until('three', () => seen.length === 3);
  assert.deepEqual(seen, ['2-50', ['ahead', '1-7'], '1-8']);
});

test('behaviour 9: of 10,000 events in one chunk each is handed over, and the page gets its turns', async (t) => {
  const { stream, exchange } = await connected(t);
  const ids = new Set();
  let count = 0;
  let notified = 0;
  stream.on('*', ({ id }) => {
    ids.add(id);
    count++;
  });
  stream.subscribe(() => notified++);
  let text = '';
  for (let position = 1; position <= 10_000; position++) {
    text += `id: 1-${position}\nevent: a\ndata: {"n":${position}}\n\n`;
  }
  exchange.send(text);
  await until('all', () => ids.size === 10_000);
  await until('the id', () => stream.getStatus().lastEventId === '1-10000');
  assert.equal(count, 10_000);
  // The kernel may cut the chunk in some, but subscribers hear of chunks, not of events.
  assert.ok(notified < 100, `${notified} notifications`);
});

test('slow handlers run in slices: timers get their turn between them', async (t) => {
  const clock = { now: () => performance.now(), setTimeout, clearTimeout };
  const { stream, exchange } = await connected(t, { clock });
  let count = 0;
  let turns = 0;
  const timer = setInterval(() => count > 0 && count < 200 && turns++, 1);
  t.after(() => clearInterval(timer));
  stream.on('*', () => {
    const end = performance.now() + 1;
    while (performance.now() < end);
    count++;
  });
  let text = '';
  for (let position = 1; position <= 200; position++) {
    text += `id: 1-${position}\nevent: a\ndata: 1\n\n`;
  }
  exchange.send(text);
  await until('all', () => count === 200);
  assert.ok(turns >= 3, `${turns} turns`);
});

test('events() gives events as they come, ends with its signal, and with the client', async (t) => {
  const { stream, exchange } = await connected(t);
  const seen = [];
  const controller = new AbortController();
  const first = (async () => {
    for await (const { id } of stream.events({ types: ['a', 'b'], signal: controller.signal })) {
      seen.push(id);
      if (seen.length === 2) controller.abort();
    }
  })();
  const second = (async () => {
    const all = [];
    for await (const { id } of stream.events()) all.push(id);
    return all;
  })();
  exchange.event('a', 1, '1-1').event('c', 1, '1-2').event('b', 1, '1-3').event('b', 1, '1-4');
  await first;
  await until('the last', () => stream.getStatus().lastEventId === '1-4');
  stream.close();
  assert.deepEqual(seen, ['1-1', '1-3']);
  assert.deepEqual(await second, ['1-1', '1-2', '1-3', '1-4']);
});

test('events() throws when more wait than its buffer holds', async (t) => {
  const { stream, exchange } = await connected(t);
  const iterator = stream.events({ buffer: 2 })[Symbol.asyncIterator]();
  const first = iterator.next();
  first.catch(() => {});
  for (let position = 1; position <= 5; position++) exchange.event('a', position, `1-${position}`);
  await until('the last', () => stream.getStatus().lastEventId === '1-5');
  await assert.rejects(async () => {
    await first;
    for (;;) await iterator.next();
  }, RangeError);
});

test('the status is frozen, and a new object only when it has changed', async (t) => {
  const { stream, exchange } = await connected(t);
  const before = stream.getStatus();
  assert.ok(Object.isFrozen(before));
  exchange.send(': hb\n');
  exchange.send('id: 1-0\nevent: stream.cursor\ndata: {}\n\n');
  exchange.event('a', 1, '1-1');
  await until('the event', () => stream.getStatus().lastEventId === '1-1');
  assert.notEqual(stream.getStatus(), before);
  assert.equal(stream.getStatus().phase, 'open');
  assert.equal(stream.getStatus().role, 'solo');
});
