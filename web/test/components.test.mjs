// Behaviour 11: what is shown, and what is said to those who do not see it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { act, h, holdTime, provided, renderer, settle } from './react-support.mjs';
import {
  ConnectionStatus,
  ReconnectHint,
  StatusBadge,
  StreamErrorPanel,
  TaskProgress,
  ToastRegion,
} from '../build/react/index.js';
import { until } from './support.mjs';

/** Renders with a stream that is open. */
async function shown(t, element, options) {
  const parts = provided(t, options);
  const view = renderer(t);
  await view.render(h(parts.Provider, null, element));
  await act(() => until('a request', () => parts.service.requests.length));
  await parts.when(() => parts.service.open());
  return { ...parts, ...view };
}

const row = (key, columns) => ({ key, op: 'update', new: columns });

test('the status is polite, and told anew only when the health changes', async (t) => {
  const { find, text, service, clock, when } = await shown(t, h(ConnectionStatus), {
    graceMs: 2000,
  });
  const region = find('[role=status]');
  assert.equal(region.textContent, 'Live updates are on.');
  const told = [];
  const observer = new window.MutationObserver(() => told.push(region.textContent));
  observer.observe(region, { childList: true, characterData: true, subtree: true });
  await when(() => service.end());
  assert.equal(find('.es-connection').dataset.phase, 'waiting');
  for (let attempt = 0; attempt < 3; attempt++) {
    await when(() => clock.advance(600));
    await when(() => service.end());
  }
  await when(() => clock.advance(4000));
  await when(() => service.open('complete'));
  assert.deepEqual(told, [
    'Live updates are delayed.',
    'Live updates are off.',
    'Live updates are on.',
  ]);
  assert.equal(find('.es-connection').dataset.phase, 'open');
  assert.equal(text('.es-connection > :nth-child(2)'), 'Live');
});

test('the labels of phases may be others', async (t) => {
  const { text } = await shown(t, h(ConnectionStatus, { labels: { open: 'Verbunden' } }));
  assert.equal(text('.es-connection > :nth-child(2)'), 'Verbunden');
});

test('the hint comes only after graceMs, counts down, and tries at once when asked', async (t) => {
  const { find, text, service, clock, when } = await shown(t, h(ReconnectHint), {
    graceMs: 2000,
    backoff: { min: 20_000 },
  });
  assert.equal(find('.es-hint'), null);
  await when(() => service.end());
  await when(() => clock.advance(1999));
  assert.equal(find('.es-hint'), null);
  await when(() => clock.advance(1));
  assert.match(text('.es-hint'), /Connection lost/);
  assert.equal(find('.es-hint').getAttribute('role'), 'group');
  assert.match(text('[role=timer]'), /^Trying again in \d+ s\.$/);
  const before = service.requests.length;
  await act(async () => find('.es-hint button').click());
  await act(settle);
  assert.equal(service.requests.length, before + 1);
  await when(() => service.open('complete'));
  assert.equal(find('.es-hint'), null);
});

test('the countdown runs from retryAt', async (t) => {
  const pass = holdTime(t);
  const { text, service, clock, when } = await shown(t, h(ReconnectHint), {
    graceMs: 0,
    backoff: { min: 10_000, jitter: 'none' },
  });
  await when(() => service.end());
  assert.equal(clock.now(), Date.now());
  const seconds = [];
  for (let second = 0; second < 3; second++) {
    seconds.push(Number(/\d+/.exec(text('[role=timer]'))[0]));
    await pass(1000);
  }
  assert.deepEqual(seconds, [10, 9, 8]);
});

test('offline says so, without a countdown', async (t) => {
  const { text, find, clock, when } = await shown(t, h(ReconnectHint), { graceMs: 0 });
  Object.defineProperty(navigator, 'onLine', { value: false, configurable: true });
  t.after(() => delete navigator.onLine);
  await act(async () => window.dispatchEvent(new window.Event('offline')));
  await when(() => clock.advance(1));
  assert.match(text('.es-hint'), /You are offline|Offline/);
  assert.equal(find('[role=timer]'), null);
});

test('an end for good is an alert with the reason, and can be tried again', async (t) => {
  const { find, text, service, when } = await shown(t, h(StreamErrorPanel));
  assert.equal(find('.es-error'), null);
  await when(() => service.end({ code: 'forbidden', status: 403, message: 'not this context' }));
  assert.equal(find('.es-error').getAttribute('role'), 'alert');
  assert.match(text('.es-error'), /You may not see this\. not this context/);
  await act(async () => find('.es-error button').click());
  await act(settle);
  await when(() => service.open('complete'));
  assert.equal(find('.es-error'), null);
});

test('the panel may say it in other words; what closes by itself is no error', async (t) => {
  const children = (error) => h('em', null, error.code);
  const { text, find, client, service, when } = await shown(t, h(StreamErrorPanel, { children }));
  await when(() => service.end({ code: 'bad-response', status: 404, message: '' }));
  assert.equal(text('em'), 'bad-response');
  await when(() => client.open());
  await when(() => client.close());
  assert.equal(find('.es-error'), null);
});

test('progress is a <progress> with a label, and follows its row', async (t) => {
  const bar = h(TaskProgress, { label: 'Progress of A', value: 10, id: '7' });
  const { find, text, service, when, render, Provider } = await shown(t, bar);
  const progress = find('progress');
  assert.equal(find('label').htmlFor, progress.id);
  assert.equal(text('label'), 'Progress of A');
  assert.deepEqual([progress.value, progress.max], [10, 100]);
  await when(() => service.event('task.progress-updated', row('8', { progress: 99 })));
  await when(() => service.event('other.progress-updated', row('7', { progress: 98 })));
  assert.equal(progress.value, 10);
  await when(() => service.event('task.progress-updated', row('7', { progress: 40 })));
  assert.equal(progress.value, 40);
  assert.equal(text('.es-progress > :last-child'), '40 %');
  await when(() =>
    service.event('task.deleted', { key: '7', op: 'delete', old: { progress: 40 } })
  );
  assert.equal(progress.value, 40);
  await render(h(Provider, null, h(TaskProgress, { label: 'Progress of A', value: 55, id: '7' })));
  assert.equal(find('progress').value, 55, 'a new value from outside counts');
});

test('a badge without an id shows what it is given; with one, it follows another topic and field', async (t) => {
  const badges = [
    h(StatusBadge, { key: 1, status: 'running' }),
    h(StatusBadge, { key: 2, status: 'open', id: '5', topic: 'invoice', field: 'state' }),
  ];
  const { all, service, when } = await shown(t, badges);
  await when(() => service.event('task.status-changed', row(undefined, { status: 'failed' })));
  await when(() => service.event('invoice.state-changed', row('5', { state: 'paid' })));
  assert.deepEqual(
    all('.es-badge').map(({ textContent, dataset }) => [textContent, dataset.status]),
    [
      ['running', 'running'],
      ['paid', 'paid'],
    ],
  );
});

/** A region that shows the data of events. */
const region = (more) =>
  h(ToastRegion, {
    type: 'a',
    toast: ({ data }) => data.text && { group: data.group, ...data },
    ...more,
  });

test('toasts are labelled, limited, grouped and dismissable', async (t) => {
  const { find, all, text, service, when } = await shown(t, region({ limit: 3 }));
  assert.equal(find('section').getAttribute('aria-label'), 'Notifications');
  assert.equal(find('ol').getAttribute('aria-live'), 'polite');
  await when(() => service.event('a', { text: '' }));
  assert.equal(all('.es-toast').length, 0);
  for (const name of ['one', 'two', 'three', 'four']) {
    await when(() => service.event('a', { text: name }));
  }
  assert.deepEqual(all('.es-toast span').map(({ textContent }) => textContent), [
    'two',
    'three',
    'four',
  ]);
  for (let count = 0; count < 3; count++) {
    await when(() => service.event('a', { text: 'again', group: 'g' }));
  }
  assert.equal(text('.es-toast:last-child span'), 'again (3 times)');
  assert.equal(all('.es-toast').length, 3);
  const button = find('.es-toast:last-child button');
  assert.equal(button.getAttribute('aria-label'), 'Dismiss: again');
  await act(async () => button.click());
  assert.deepEqual(all('.es-toast span').map(({ textContent }) => textContent), ['three', 'four']);
  await act(async () =>
    find('section').dispatchEvent(
      new window.KeyboardEvent('keydown', { key: 'Escape', bubbles: true }),
    )
  );
  assert.deepEqual(all('.es-toast span').map(({ textContent }) => textContent), ['three']);
});

test('toasts go after a while, but not while the pointer or the focus is on them', async (t) => {
  const pass = holdTime(t);
  const { find, all, service, when } = await shown(t, region({ durationMs: 5000 }));
  await when(() => service.event('a', { text: 'one' }));
  await pass(3000);
  await when(() => service.event('a', { text: 'two' }));
  await pass(2100);
  assert.deepEqual(all('.es-toast span').map(({ textContent }) => textContent), ['two']);
  await act(async () => find('.es-toast button').focus());
  await pass(60_000);
  assert.equal(all('.es-toast').length, 1);
  await act(async () => find('.es-toast button').blur());
  await pass(100);
  assert.equal(all('.es-toast').length, 0);
});

test('with durationMs 0 a toast stays; what is replayed makes none', async (t) => {
  const pass = holdTime(t);
  const parts = provided(t);
  const view = renderer(t);
  await view.render(h(parts.Provider, null, region({ durationMs: 0 })));
  await parts.when(() => parts.service.event('a', { text: 'old' }));
  await parts.when(() => parts.service.open());
  await parts.when(() => parts.service.event('a', { text: 'new' }));
  await pass(3_600_000);
  assert.deepEqual(view.all('.es-toast span').map(({ textContent }) => textContent), ['new']);
});
