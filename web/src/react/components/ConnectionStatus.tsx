import type { Health, Phase } from '../../client/index.js';
import { createElement } from '../element.js';
import { useSSEStatus } from '../hooks.js';

const phases: Record<Phase, string> = {
  idle: 'Not connected',
  connecting: 'Connecting',
  open: 'Live',
  waiting: 'Reconnecting',
  offline: 'Offline',
  polling: 'Polling',
  closed: 'Closed',
};

const announcements: Record<Health, string> = {
  good: 'Live updates are on.',
  degraded: 'Live updates are delayed.',
  down: 'Live updates are off.',
};

/**
 * Shows how the stream does.
 *
 * The phase is for the eye and may change often; screen readers are told when the health changes, and
 * politely.
 */
export function ConnectionStatus({ labels }: { labels?: Partial<Record<Phase, string>> }) {
  const { phase, health } = useSSEStatus();
  return (
    <span className='es-connection' data-phase={phase} data-health={health}>
      <span className='es-dot' aria-hidden='true' />
      <span aria-hidden='true'>{labels?.[phase] ?? phases[phase]}</span>
      <span className='es-unseen' role='status'>{announcements[health]}</span>
    </span>
  );
}
