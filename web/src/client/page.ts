/**
 * What only a page needs: its tabs, its life in a browser. It is loaded while the page goes on, and
 * elsewhere not at all.
 */
import type { Core } from './client.js';
import { groupName } from './identity.js';
import { watchPage } from './lifecycle.js';
import { joinTabs } from './tabs.js';
import type { Batch } from './types.js';

/** This tab among those that share a stream. */
export interface Tabs {
  /** Of a token of other claims: it must not feed tabs that share by the old ones. */
  admit(token: string | undefined): Promise<void>;
  /** As the leader: tells the others what came. */
  tell(batch: Batch): void;
  /** As the leader: tells the others how the stream does. */
  tellLink(): void;
  /** Asks the leader whether it is there; takes its place if it is not. */
  check(): void;
  leave(): void;
}

/** With more batches than this waiting no more are taken: what is left out is read from history. */
const inboxLimit = 200;

/** Shares the stream with other tabs; `false` where there is nobody that it can be shared with. */
export async function share(core: Core): Promise<boolean> {
  const { clock, options, run, status } = core;
  if (options.tabs === 'each') return false;
  const nameOf = (token: string | undefined) =>
    groupName(core.urlOf(options.url), token, options.shareKey);
  // Where there is no token now, the connection will say so.
  const name = await core.tokens.get().then(nameOf).catch(() => null);
  if (!name || run !== core.run) return false;
  status.set({ role: 'follower' });
  const tabs = joinTabs(name, {
    clock,
    lead: core.lead,
    follow() {
      core.connection?.stop();
      core.connection = null;
      status.set({ role: 'follower' });
    },
    link: status.get,
    check: () => core.connection?.check(),
    hearLink: status.set,
    hear: (batch) => core.waiting < inboxLimit && core.accept(batch, false),
  });
  core.tabs = {
    ...tabs,
    async admit(token) {
      if (await nameOf(token) === name) return;
      core.suspend();
      if (core.isOpen) void core.start();
    },
  };
  return true;
}

/** Follows what happens to the page; returns what ends it. */
export function followPage(core: Core): () => void {
  const { clock, options: { hidden }, status } = core;
  let isAway = false;
  let timer: unknown;
  const leave = () => {
    isAway = true;
    core.suspend();
    status.set({ phase: 'idle', retryAt: null });
  };
  const hide = () => {
    if (hidden instanceof Object) timer = clock.setTimeout(leave, hidden.closeAfterMs);
  };
  if (document.hidden) hide();
  const unwatch = watchPage(clock, (event) => {
    if (event === 'leave') return leave();
    if (event === 'offline') return core.connection?.reconnect();
    if (event === 'hidden') return hide();
    if (event === 'visible' || event === 'return') clock.clearTimeout(timer);
    if (!isAway) {
      core.connection?.check();
      core.tabs?.check();
    } else if (event === 'visible' || event === 'return') {
      isAway = false;
      void core.start();
    }
  });
  return () => {
    clock.clearTimeout(timer);
    unwatch();
  };
}
