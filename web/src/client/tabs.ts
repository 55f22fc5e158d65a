import type { Tabs } from './page.js';
import type { Batch, Clock, Link } from './types.js';

/** What tabs say to each other. */
type TabMessage =
  /** Of a tab that came, or that wonders: is there a leader? */
  | { says: 'hello' }
  /** Of the leader: how the stream does, and the id up to which it was told. */
  | { says: 'link'; link: Link; at: string | null }
  /** Of the leader: frames. */
  | { says: 'batch'; batch: Batch };

/** What a tab does when its part changes. */
export interface TabMember {
  clock: Clock;
  /** This tab has the stream from now on; its id if it is alone. */
  lead(role: 'solo' | 'leader', heard: string | null): void;
  /** Another tab has the stream. */
  follow(): void;
  /** How this tab's stream does: the whole status, of which the part that concerns others is told. */
  link(): Link;
  /** As the leader: looks whether the stream lives, and tries at once if it waits. */
  check(): void;
  /** The leader tells how the stream does. */
  hearLink(link: Link): void;
  /** The leader has got something. */
  hear(batch: Batch): unknown;
}

/** How often a leader says that it is there; a tab that nobody sees may be far slower. */
const beatMs = 15_000;
const longestBeat = 150_000;
/** How long a leader that is asked may take. */
const answerMs = 3_000;

/**
 * Joins the tabs that share a stream.
 *
 * The leader is who holds the lock of that name. The browser hands it to the tab that has waited longest
 * once the leader is gone, however it went; that tab has heard all that was said, so it knows where
 * to go on. A leader that holds the lock and does not answer – its tab was frozen – loses it.
 */
export function joinTabs(name: string, member: TabMember): Omit<Tabs, 'admit'> {
  const { clock } = member;
  const channel = new BroadcastChannel(name);
  let left = new AbortController();
  let isLeader = false;
  let release = () => {};
  let heardAt = clock.now();
  let isAnswered = false;
  /** The id up to which the leader has spoken. */
  let at: string | null = null;
  let timer: unknown;
  let answerTimer: unknown;

  const hold = () => {
    if (left.signal.aborted) return;
    isLeader = true;
    member.lead('leader', at);
    return new Promise<void>((resolve) => release = resolve);
  };
  const request = (options: LockOptions) => {
    navigator.locks.request(name, options, hold).catch((error) => {
      if (left.signal.aborted) return;
      // No locks here after all: a stream of one's own is better than none.
      if (!isLeader) return error.name === 'AbortError' || member.lead('solo', null);
      // Stolen.
      isLeader = false;
      heardAt = clock.now();
      member.follow();
      request({ signal: left.signal });
    });
  };

  const say = (message: TabMessage) => channel.postMessage(message);
  const tellLink = () => {
    const { phase, attempt, retryAt, resumed, error } = member.link();
    // What was thrown may be nothing that can be sent.
    const told = error && { ...error, cause: undefined };
    say({ says: 'link', link: { phase, attempt, retryAt, resumed, error: told }, at });
  };
  const remember = ({ after, frames }: Batch) =>
    at = frames.filter((frame) => frame.hasId).at(-1)?.id || after;
  channel.onmessage = ({ data }: MessageEvent<TabMessage>) => {
    if (data.says === 'hello') {
      if (!isLeader) return;
      // Who asks is looked at; a leader that nobody sees may sleep longer than it should.
      member.check();
      tellLink();
    } else if (!isLeader) {
      heardAt = clock.now();
      isAnswered = true;
      if (data.says === 'batch') {
        remember(data.batch);
        member.hear(data.batch);
      } else {
        member.hearLink(data.link);
        at = data.at;
        // Tells a tab that missed something.
        if (at !== null) member.hear({ after: at, frames: [], live: true });
      }
    }
  };

  const check = () => {
    if (isLeader) return;
    isAnswered = false;
    say({ says: 'hello' });
    clock.clearTimeout(answerTimer);
    answerTimer = clock.setTimeout(() => {
      if (isLeader || isAnswered) return;
      // The place in the queue would be a second lock.
      left.abort();
      left = new AbortController();
      request({ steal: true });
    }, answerMs);
  };

  const beat = () => {
    if (isLeader) tellLink();
    else if (clock.now() - heardAt > longestBeat) check();
    timer = clock.setTimeout(beat, beatMs);
  };
  timer = clock.setTimeout(beat, beatMs);
  request({ signal: left.signal });
  say({ says: 'hello' });
  return {
    tell(batch) {
      remember(batch);
      say({ says: 'batch', batch });
    },
    tellLink,
    check,
    leave() {
      left.abort();
      release();
      channel.close();
      clock.clearTimeout(timer);
      clock.clearTimeout(answerTimer);
    },
  };
}
