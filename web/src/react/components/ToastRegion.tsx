import { type KeyboardEvent, useEffect, useRef, useState } from 'react';
import type { StreamEvent } from '../../client/index.js';
import { createElement } from '../element.js';
import { useSSE } from '../hooks.js';

/** One toast. */
export interface Toast {
  text: string;
  /** Toasts of one group are shown as one, with their number. */
  group?: string;
  tone?: 'info' | 'good' | 'bad';
}

/** What a region of toasts is given. */
export interface ToastRegionProps {
  /** The type of the events, as `task.*`. */
  type: string;
  /** The toast of an event, if it has one. */
  toast: (event: StreamEvent<string, any>) => Toast | null | undefined | false;
  label?: string;
  /** How many are shown; the oldest give way. 4. */
  limit?: number;
  /** How long one is shown; 0 leaves it. 8,000 ms. */
  durationMs?: number;
}

interface Shown extends Toast {
  key: number;
  count: number;
  until: number;
}

/**
 * Shows toasts for events as they happen, not for what is replayed.
 *
 * They stay while the pointer or the focus is on them; Escape dismisses the newest.
 */
export function ToastRegion(
  { type, toast, label = 'Notifications', limit = 4, durationMs = 8_000 }: ToastRegionProps,
) {
  const [shown, setShown] = useState<Shown[]>([]);
  const [isHeld, setHeld] = useState(false);
  const nextKey = useRef(0);

  useSSE(type, (event) => {
    const made = !event.replayed && toast(event);
    if (!made) return;
    const key = nextKey.current++;
    const until = durationMs ? Date.now() + durationMs : Infinity;
    setShown((before) => {
      const same = made.group && before.find(({ group }) => group === made.group);
      const rest = before.filter((one) => one !== same);
      const count = same ? same.count + 1 : 1;
      return [...rest, { key, until, count, ...made }].slice(-limit);
    });
  });

  const next = Math.min(...shown.map(({ until }) => until));
  useEffect(() => {
    if (isHeld || next === Infinity) return;
    const timer = setTimeout(
      () => setShown((before) => before.filter(({ until }) => until > Date.now())),
      next - Date.now() + 10,
    );
    return () => clearTimeout(timer);
  }, [next, isHeld]);

  const dismiss = (key: number) => setShown((before) => before.filter((one) => one.key !== key));
  const onKeyDown = ({ key }: KeyboardEvent) => {
    if (key === 'Escape') setShown((before) => before.slice(0, -1));
  };
  return (
    // oxlint-disable-next-line no-noninteractive-element-interactions -- they only hold what is shown
    <section
      className='es-toasts'
      aria-label={label}
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
      onKeyDown={onKeyDown}
    >
      <ol aria-live='polite'>
        {shown.map(({ key, text, count, tone }) => (
          <li key={key} className='es-toast' data-tone={tone}>
            <span>{text}{count > 1 && ` (${count} times)`}</span>
            <button
              type='button'
              aria-label={`Dismiss: ${text}`}
              onClick={() =>
                dismiss(key)}
            >
              ×
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}
