// Behaviours 1, 8 and 9: the hooks.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  act,
  createFakeStream,
  h,
  holdTime,
  provided,
  renderer,
  settle,
  SSEProvider,
  StrictMode,
} from './react-support.mjs';
import { useLiveQuery, useSSE, useSSEState, useSSEStatus } from '../build/react/index.js';
import { until } from './support.mjs';

test('behaviour 8: StrictMode mounts, unmounts, mounts: one request in the end', async (t) => {
  const service = createFakeStream();
  const { render } = renderer(t);
  const options = { url: 'http://localhost/stream', transport: service.transport, tabs: 'each' };
  await render(h(StrictMode, null, h(SSEProvider, { options })));
  await act(() => until('a request', () => service.requests.length));
  await act(settle);
  assert.equal(service.requests.length, 1);
  assert.equal(service.requests[0].signal.aborted, false);
  await render(null);
  assert.equal(service.requests[0].signal.aborted, true);
});

test('a provider makes a new client for another URL or other filters, and only then', async (t) => {
  const service = createFakeStream();
  const { render } = renderer(t);
  const of = (filters, enabled) =>
    h(SSEProvider, {
      options: {
        url: 'http://localhost/stream',
        filters,
        transport: service.transport,
        tabs: 'each',
      },
      enabled,
    });
  await render(of({ type: 'a' }, false));
  await act(settle);
  assert.equal(service.requests.length, 0);
  await render(of({ type: 'a' }, true));
  await act(() => until('a request', () => service.requests.length));
  await render(of({ type: 'a' }, true));
  await act(settle);
  assert.equal(service.requests.length, 1);
  await render(of({ type: 'b' }, true));
  await act(settle);
  assert.equal(service.requests.length, 2);
  assert.equal(service.requests[0].signal.aborted, true);
  assert.match(service.requests[1].url, /type=b/);
});

test('a client that was open already stays open when its provider goes', async (t) => {
  const { Provider, client, service } = provided(t);
  client.open();
  await settle();
  const { render } = renderer(t);
  await render(h(Provider));
  await render(null);
  assert.equal(service.isConnected(), true);
});

test('a hook without a provider says so', async (t) => {
  const { render } = renderer(t);
  const Alone = () => useSSEStatus().phase;
  t.mock.method(console, 'error', () => {});
  await assert.rejects(async () => await render(h(Alone)), /No SSEProvider/);
});

test('behaviour 9: 10,000 events in one chunk are 10,000 calls, and a handful of renders', async (t) => {
  const { Provider, service, when } = provided(t);
  let calls = 0;
  let renders = 0;
  const Counter = () => {
    renders++;
    useSSE('a', () => calls++);
    const { state } = useSSEState(['a'], (count) => count + 1, 0);
    return h('output', null, state);
  };
  const { render, text } = renderer(t);
  await render(h(Provider, null, h(Counter)));
  await when(() => service.open());
  const before = renders;
  const frames = Array.from(
    { length: 10_000 },
    (_, n) => ({ type: 'a', data: '1', id: `1-${n + 1}` }),
  );
  await when(() => service.send(frames));
  assert.equal(calls, 10_000);
  assert.equal(text('output'), '10000');
  assert.ok(renders - before <= 2, `${renders - before} renders for one chunk`);
});

test('useSSE calls the handler of the last render, and none while it is not enabled', async (t) => {
  const { Provider, service, when } = provided(t);
  const seen = [];
  const Listener = ({ name, enabled }) => {
    const status = useSSE('a', ({ data }) => seen.push([name, data]), { enabled });
    return h('output', null, status.phase);
  };
  const { render, text } = renderer(t);
  const show = (name, enabled) => render(h(Provider, null, h(Listener, { name, enabled })));
  await show('first', true);
  await when(() => service.open());
  assert.equal(text('output'), 'open');
  await when(() => service.event('a', 1));
  await show('second', true);
  await when(() => service.event('a', 2));
  await show('third', false);
  await when(() => service.event('a', 3));
  assert.deepEqual(seen, [['first', 1], ['second', 2]]);
});

test('useSSEStatus renders again only when what it selects is another value', async (t) => {
  const { Provider, service, when } = provided(t);
  let renders = 0;
  const Phase = () => {
    renders++;
    return h('output', null, useSSEStatus(({ phase }) => phase));
  };
  const { render, text } = renderer(t);
  await render(h(Provider, null, h(Phase)));
  await when(() => service.open());
  const before = renders;
  await when(() => service.event('a', 1));
  await when(() => service.event('a', 2));
  assert.equal(renders, before);
  await when(() => service.end());
  assert.equal(text('output'), 'waiting');
});

/** Shows a list that events add to. */
const List = ({ load, id }) => {
  const { state, reload } = useSSEState(['a', 'b'], (list, { data }) => [...list, data], [], {
    load,
    key: id,
  });
  return h('button', { onClick: reload }, JSON.stringify(state));
};

test('without load a state begins with the first event, and anew after a gap and with another key', async (t) => {
  const { Provider, service, when } = provided(t);
  const { render, text } = renderer(t);
  await render(h(Provider, null, h(List, { id: 1 })));
  await when(() => service.open());
  await when(() => service.event('a', 1));
  await when(() => service.event('b', 2));
  assert.equal(text('button'), '[1,2]');
  await when(() =>
    service.send([
      { type: 'stream.reset', data: '{"reason":"expired"}', id: '1-50' },
      { type: 'a', data: '3', id: '1-51' },
    ])
  );
  assert.equal(text('button'), '[3]');
  await render(h(Provider, null, h(List, { id: 2 })));
  assert.equal(text('button'), '[]');
});

test('each change is shown, also one that leaves the status as it was', async (t) => {
  // Time stands still: of two events in one millisecond only the id tells, and these have none.
  const { Provider, client, service, when } = provided(t);
  const { render, text } = renderer(t);
  await render(h(Provider, null, h(List)));
  await when(() => service.open());
  await when(() => service.send([{ type: 'a', data: '1' }]));
  const status = client.getStatus();
  await when(() => service.send([{ type: 'b', data: '2' }]));
  assert.equal(client.getStatus(), status);
  assert.equal(text('button'), '[1,2]');
  const { lastEventId: id } = status;
  await when(() => service.send([{ type: 'stream.reset', data: '{"reason":"expired"}', id }]));
  assert.equal(client.getStatus(), status);
  assert.equal(text('button'), '[]');
});

test('behaviour 1: connect, load, then what came meanwhile, then what comes', async (t) => {
  const pass = holdTime(t);
  const { Provider, service, when } = provided(t);
  const loads = [];
  const load = () => new Promise((resolve, reject) => loads.push({ resolve, reject }));
  const { render, text } = renderer(t);
  await render(h(Provider, null, h(List, { load })));
  await pass(5000);
  assert.equal(loads.length, 0, 'not before there is a stream');
  await when(() => service.open());
  await pass(0);
  assert.equal(loads.length, 1);
  await when(() => service.event('a', 'meanwhile'));
  assert.equal(text('button'), '[]');
  await when(() => loads[0].resolve(['loaded']));
  assert.equal(text('button'), '["loaded","meanwhile"]');
  await when(() => service.event('a', 'live'));
  assert.equal(text('button'), '["loaded","meanwhile","live"]');
});

test('behaviour 1: gaps load again, once for many, and not more often than every second', async (t) => {
  const pass = holdTime(t);
  const { Provider, service, when } = provided(t);
  const loads = [];
  const load = () => new Promise((resolve) => loads.push(resolve));
  const { render, text } = renderer(t);
  await render(h(Provider, null, h(List, { load })));
  await when(() => service.open());
  await pass(0);
  await when(() => loads[0](['one']));
  const gap = (position) => ({
    type: 'stream.reset',
    data: '{"reason":"expired"}',
    id: `1-${position}`,
  });
  await when(() => service.send([gap(10), gap(20), gap(30)]));
  await pass(999);
  assert.equal(loads.length, 1);
  await when(() => service.event('a', 'behind the gap', '1-31'));
  await pass(1);
  assert.equal(loads.length, 2);
  await when(() => loads[1](['two']));
  assert.equal(text('button'), '["two","behind the gap"]');
  // A load that a later gap has overtaken does not count.
  await when(() => service.send([gap(40)]));
  await pass(1000);
  await when(() => service.send([gap(50)]));
  await when(() => loads[2](['late']));
  assert.equal(text('button'), '["two","behind the gap"]');
  await pass(1000);
  await when(() => loads[3](['three']));
  assert.equal(text('button'), '["three"]');
});

test('a load that fails is tried again, less and less often; reload asks at once', async (t) => {
  const pass = holdTime(t);
  const { Provider, service, when } = provided(t);
  let count = 0;
  const load = async () => {
    if (++count < 4) throw new Error('away');
    return [`load ${count}`];
  };
  const { render, text, find } = renderer(t);
  await render(h(Provider, null, h(List, { load })));
  await when(() => service.open());
  await pass(0);
  assert.equal(count, 1);
  await pass(1000);
  assert.equal(count, 2);
  await pass(1999);
  assert.equal(count, 2);
  await pass(1);
  assert.equal(count, 3);
  await pass(4000);
  assert.equal(text('button'), '["load 4"]');
  await pass(5000);
  await act(async () => find('button').click());
  await pass(0);
  assert.equal(text('button'), '["load 5"]');
});

test('more events than are kept while it is loaded: it is loaded once more', async (t) => {
  const pass = holdTime(t);
  const { Provider, service, when } = provided(t);
  const loads = [];
  const load = () => new Promise((resolve) => loads.push(resolve));
  const { render, text } = renderer(t);
  const Size = () => h('output', null, useSSEState(['a'], (size) => size + 1, 0, { load }).state);
  await render(h(Provider, null, h(Size)));
  await when(() => service.open());
  await pass(0);
  const frames = Array.from(
    { length: 10_001 },
    (_, n) => ({ type: 'a', data: '1', id: `1-${n + 1}` }),
  );
  await when(() => service.send(frames));
  await when(() => loads[0](5));
  assert.equal(text('output'), '0', 'what is incomplete is not shown');
  await pass(1000);
  await when(() => loads[1](10_001));
  assert.equal(text('output'), '10001');
});

/** Shows a live query. */
const Query = (options) => {
  const { data, error, source } = useLiveQuery({
    invalidateOn: ['health'],
    pollMs: 10_000,
    ...options,
  });
  return h('output', null, [data, error?.message, source].join('|'));
};

test('useLiveQuery loads at once, after events, and not more often than it may; it does not poll', async (t) => {
  const pass = holdTime(t);
  const { Provider, service, when } = provided(t);
  let count = 0;
  const { render, text } = renderer(t);
  await render(h(Provider, null, h(Query, { load: async () => ++count })));
  await pass(0);
  assert.equal(text('output'), '1||stream');
  await when(() => service.open());
  await pass(1000);
  assert.equal(text('output'), '2||stream', 'once more when it is connected');
  for (let event = 0; event < 5; event++) await when(() => service.event('health', event));
  await pass(1000);
  assert.equal(text('output'), '3||stream', 'five events are one load');
  await pass(3_600_000);
  assert.equal(count, 3, 'nothing is polled while there is a stream');
});

test('useLiveQuery polls while the stream is down, and stops when it is back', async (t) => {
  const pass = holdTime(t);
  const { Provider, service, clock, when } = provided(t, { graceMs: 2000 });
  let count = 0;
  const { render, text } = renderer(t);
  await render(h(Provider, null, h(Query, { load: async () => ++count })));
  await when(() => service.open());
  await pass(2000);
  const before = count;
  await when(() => service.end());
  await when(() => clock.advance(1_999));
  await pass(60_000);
  assert.equal(count, before, 'not yet');
  await when(() => clock.advance(1));
  assert.match(text('output'), /polling$/);
  await pass(10_000);
  await pass(10_000);
  assert.equal(count, before + 2);
  await when(() => clock.advance(30_000));
  await when(() => service.open('complete'));
  await pass(1000);
  assert.match(text('output'), /stream$/);
  const after = count;
  await pass(60_000);
  assert.equal(count, after);
});

test('useLiveQuery keeps what it had when a load fails, and says so', async (t) => {
  const pass = holdTime(t);
  const { Provider, service, when } = provided(t);
  let isAway = false;
  const load = async () => {
    if (isAway) throw new Error('away');
    return 'data';
  };
  const { render, text } = renderer(t);
  await render(h(Provider, null, h(Query, { load })));
  await when(() => service.open());
  await pass(1000);
  isAway = true;
  await when(() => service.event('health', 1));
  await pass(1000);
  assert.equal(text('output'), 'data|away|stream');
  isAway = false;
  await when(() =>
    service.send([{ type: 'stream.reset', data: '{"reason":"expired"}', id: '1-9' }])
  );
  await pass(1000);
  assert.equal(text('output'), 'data||stream');
});

test('what is unmounted neither loads nor listens', async (t) => {
  const pass = holdTime(t);
  const { Provider, service, when } = provided(t);
  let loads = 0;
  const load = async () => ++loads;
  const { render } = renderer(t);
  await render(h(Provider, null, h(Query, { load }), h(List, { load: async () => [] })));
  await when(() => service.open());
  await pass(1000);
  const before = loads;
  await render(h(Provider));
  await when(() => service.event('health', 1));
  await pass(100_000);
  assert.equal(loads, before);
});
