import { createElement } from 'react';
import type { StreamHealth } from '../src/client/index.js';
import { useLiveQuery, useSSEStatus } from '../src/react/index.js';

/** What `/readyz` says; 503 is an answer too. */
async function loadHealth(): Promise<StreamHealth> {
  const response = await fetch('readyz', { cache: 'no-store' });
  return await response.json();
}

const invalidateOn = ['stream.health'];

/**
 * How the service does, without asking all the time: the stream says when that has changed, and only
 * without one is it asked at intervals.
 */
export function HealthBadge() {
  const { data, error, source } = useLiveQuery({ load: loadHealth, invalidateOn, pollMs: 5_000 });
  const role = useSSEStatus((status) => status.role);
  const isUnreached = !!error || !data;
  const text = isUnreached ? 'no answer' : data.ready ? 'ready' : `no ${data.reasons.join(', ')}`;
  return (
    <span className='health'>
      <span className='pill' data-good={!isUnreached && data.ready}>Service: {text}</span>
      <span className='quiet'>
        {source === 'polling'
          ? 'polled'
          : role === 'follower'
          ? 'stream of another tab'
          : 'by stream'}
      </span>
    </span>
  );
}
