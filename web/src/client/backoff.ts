import type { BackoffOptions } from './types.js';

/** What is used where nothing else is said. */
export const defaultBackoff: BackoffOptions = {
  min: 500,
  max: 30_000,
  factor: 2,
  jitter: 'full',
  stableAfter: 10_000,
};

/**
 * How long to wait before the next attempt, in milliseconds.
 *
 * A random part of min·factorⁿ, at most `max`: clients that lost the same service must not come back
 * together. Never less than what the service asks for; who would be earlier is spread over one `min`
 * behind that, for the same reason.
 *
 * @param failures attempts that failed before, in a row
 * @param floor what the service asks for (`retry`, `Retry-After`)
 * @param random from 0 to 1
 */
export function backoffDelay(
  { min, max, factor, jitter }: BackoffOptions,
  failures: number,
  floor: number,
  random: number,
): number {
  const part = jitter === 'full' ? random : jitter === 'equal' ? (1 + random) / 2 : 1;
  const delay = part * Math.min(max, min * factor ** failures);
  return Math.round(delay < floor ? floor + part * min : delay);
}

/** Whether trying on makes no sense after this status. */
export const isFinal = (status: number): boolean =>
  status === 204 || (status >= 400 && status < 500 && status !== 408 && status !== 429);

/** `Retry-After` in milliseconds: seconds or a date (RFC 9110, section 10.2.3). */
export function retryAfter(value: string | null, now: number): number {
  const ms = value ? Number(value) * 1000 || Date.parse(value) - now : 0;
  return ms > 0 ? Math.min(ms, 86_400_000) : 0;
}
