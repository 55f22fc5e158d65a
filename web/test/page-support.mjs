// What a page has and node has not, as far as the client uses it. Real browsers are tested in e2e/.
import { createStream } from '../build/client/index.js';
import { createManualClock } from '../build/testing/index.js';
import { startServer, until } from './support.mjs';

/** Locks as the Web Locks API has them: exclusive ones, in the order of the requests, that may be stolen. */
export function createLocks() {
  const queues = new Map();
  const grant = (name) => {
    const queue = queues.get(name) ?? [];
    const [first] = queue;
    if (!first || first.isHeld) return;
    first.isHeld = true;
    Promise.resolve().then(() => first.callback({ name })).then(first.resolve, first.reject)
      .finally(() => {
        if (queue[0] === first) queue.shift();
        grant(name);
      });
  };
  return {
    request(name, options, callback) {
      return new Promise((resolve, reject) => {
        const queue = queues.get(name) ?? [];
        queues.set(name, queue);
        const entry = { callback, resolve, reject, isHeld: false };
        const aborted = () => new DOMException('aborted', 'AbortError');
        if (options.steal) {
          const [held] = queue;
          if (held?.isHeld) {
            queue.shift();
            held.reject(aborted());
          }
          queue.unshift(entry);
        } else {
          queue.push(entry);
        }
        options.signal?.addEventListener('abort', () => {
          if (entry.isHeld || !queue.includes(entry)) return;
          queue.splice(queue.indexOf(entry), 1);
          reject(aborted());
        });
        grant(name);
      });
    },
  };
}

/** Makes this process look like a page; returns what happens to it. */
export function installPage({ locks = createLocks() } = {}) {
  const window = new EventTarget();
  const document = Object.assign(new EventTarget(), { hidden: false });
  const navigator = { onLine: true, locks };
  for (const [name, value] of Object.entries({ window, document, navigator })) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  const fire = (target, type, more = {}) =>
    target.dispatchEvent(Object.assign(new Event(type), more));
  return {
    goOffline() {
      navigator.onLine = false;
      fire(window, 'offline');
    },
    goOnline() {
      navigator.onLine = true;
      fire(window, 'online');
    },
    hide() {
      document.hidden = true;
      fire(document, 'visibilitychange');
    },
    show() {
      document.hidden = false;
      fire(document, 'visibilitychange');
    },
    leave: () => fire(window, 'pagehide', { persisted: true }),
    comeBack: (persisted = true) => fire(window, 'pageshow', { persisted }),
    resume: () => fire(document, 'resume'),
  };
}

/** Tabs of one browser; each `open` is another one. */
export async function browser(t) {
  const locks = createLocks();
  const page = installPage({ locks });
  const server = await startServer(t);
  const clock = createManualClock();
  const open = (options = {}) => {
    const stream = createStream({
      url: server.url,
      clock,
      random: () => 0.5,
      fallback: false,
      log: (entry) => tab.logged.push(entry),
      ...options,
    });
    const tab = { stream, seen: [], logged: [], gaps: [] };
    stream.on('*', ({ id }) => tab.seen.push(id));
    stream.onGap(({ reason }) => tab.gaps.push(reason));
    stream.open();
    t.after(() => stream.close());
    tab.role = (name) => until(`role ${name}`, () => stream.getStatus().role === name);
    tab.phase = (name) => until(`phase ${name}`, () => stream.getStatus().phase === name);
    tab.has = (id) => until(`event ${id}`, () => tab.seen.includes(id));
    return tab;
  };
  return { page, server, clock, open, locks };
}

/** Lets whatever might come, come. */
export const quiet = () => new Promise((resolve) => setTimeout(resolve, 50));
