// A document for React, before React is imported: it looks for one when it is loaded.
import { createRequire } from 'node:module';

// Debian's packages: NODE_PATH says where they are, which only require looks at.
const { JSDOM } = createRequire(import.meta.url)('jsdom');
const dom = new JSDOM('<!doctype html><div id="root"></div>', { url: 'http://localhost/' });
for (
  const name of [
    'window',
    'document',
    'navigator',
    'Event',
    'KeyboardEvent',
    'AbortController',
    'AbortSignal',
  ]
) {
  const value = name === 'window' ? dom.window : dom.window[name];
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
globalThis.IS_REACT_ACT_ENVIRONMENT = true;

const React = await import('react');
const { createRoot } = await import('react-dom/client');
const { act } = await import('react-dom/test-utils');
const { createStream } = await import('../build/client/index.js');
const { createFakeStream, createManualClock, settle } = await import('../build/testing/index.js');
const { SSEProvider } = await import('../build/react/index.js');

export const { createElement: h, StrictMode, useState } = React;
export { act, createFakeStream, createStream, settle, SSEProvider };

/** Renders into a page of its own. */
export function renderer(t) {
  const container = document.body.appendChild(document.createElement('div'));
  const root = createRoot(container);
  const render = (element) => act(async () => root.render(element));
  t.after(async () => {
    await act(async () => root.unmount());
    container.remove();
  });
  return {
    render,
    container,
    find: (selector) => container.querySelector(selector),
    all: (selector) => [...container.querySelectorAll(selector)],
    text: (selector) => container.querySelector(selector)?.textContent,
  };
}

/** Takes the page's own time into the test's hands; returns what lets it pass. */
export function holdTime(t) {
  const clock = createManualClock();
  const interval = (run, ms) => {
    const entry = {};
    const next = () => entry.timer = clock.setTimeout(() => (next(), run()), ms);
    next();
    return entry;
  };
  const held = {
    setTimeout: (run, ms = 0) => clock.setTimeout(run, Math.max(0, ms)),
    clearTimeout: (timer) => clock.clearTimeout(timer),
    setInterval: interval,
    clearInterval: (entry) => entry && clock.clearTimeout(entry.timer),
  };
  const real = Object.fromEntries(Object.keys(held).map((name) => [name, globalThis[name]]));
  const { now } = Date;
  Object.assign(globalThis, held);
  Date.now = clock.now;
  t.after(() => {
    Object.assign(globalThis, real);
    Date.now = now;
  });
  return (ms) => act(() => clock.advance(ms));
}

/** A client of a service in memory, and its provider. */
export function provided(t, options = {}) {
  const service = createFakeStream();
  const clock = createManualClock();
  const client = createStream({
    url: 'http://localhost/stream',
    transport: service.transport,
    tabs: 'each',
    fallback: false,
    clock,
    random: () => 0.5,
    log() {},
    ...options,
  });
  t.after(() => act(async () => client.close()));
  const Provider = ({ children, ...more }) => h(SSEProvider, { client, ...more }, children);
  /** Something happens to the stream, and the page shows it. */
  const when = (happens) =>
    act(async () => {
      await happens();
      await settle();
    });
  return { service, clock, client, Provider, when };
}
