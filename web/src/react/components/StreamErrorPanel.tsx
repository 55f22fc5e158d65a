import type { ReactNode } from 'react';
import type { StreamError, StreamErrorCode } from '../../client/index.js';
import { useClient } from '../context.js';
import { createElement } from '../element.js';
import { useSSEStatus } from '../hooks.js';

const advice: Partial<Record<StreamErrorCode, string>> = {
  unauthorized: 'Sign in again.',
  forbidden: 'You may not see this.',
  'stopped-by-server': 'The service ended it.',
};

/** Says why the stream has ended for good, and offers to open it anew. */
export function StreamErrorPanel({ children }: { children?: (error: StreamError) => ReactNode }) {
  const client = useClient();
  const { error, phase } = useSSEStatus();
  if (!error || phase !== 'closed') return null;
  return (
    <div className='es-error' role='alert'>
      {children?.(error) ?? (
        <p>
          <strong>{advice[error.code] ?? 'Live updates have ended.'}</strong> {error.message}
        </p>
      )}
      <button type='button' onClick={() => client.open()}>Connect again</button>
    </div>
  );
}
