import { useEffect, useState } from 'react';
import { useClient } from '../context.js';
import { createElement } from '../element.js';
import { useSSEStatus } from '../hooks.js';

/** The seconds until a time, as they pass. */
function Countdown({ until }: { until: number }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, []);
  return <span role='timer'>Trying again in {Math.max(0, Math.ceil((until - now) / 1000))} s.
  </span>;
}

/**
 * Says that the stream is away, when it is tried again, and offers to do so now.
 *
 * It shows nothing before `graceMs` are over: most interruptions end sooner than one can read.
 */
export function ReconnectHint() {
  const client = useClient();
  const { health, phase, retryAt } = useSSEStatus();
  if (health !== 'down' || phase === 'closed') return null;
  return (
    <div className='es-hint' role='group' aria-label='Connection'>
      <span>
        {phase === 'offline' ? 'You are offline. ' : 'Connection lost. '}
        {retryAt && <Countdown key={retryAt} until={retryAt} />}
        {phase === 'connecting' && 'Trying now …'}
      </span>
      <button type='button' onClick={() => client.reconnect()}>Retry now</button>
    </div>
  );
}
