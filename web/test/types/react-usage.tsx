import { createElement } from 'react';
import {
  ConnectionStatus,
  SSEProvider,
  StatusBadge,
  TaskProgress,
  ToastRegion,
  useLiveQuery,
  useSSE,
  useSSEState,
  useSSEStatus,
} from '../../src/react/index.js';

function Panel() {
  const phase: string = useSSEStatus((status) => status.phase);
  const { health } = useSSE<{ n: number }>('tick', ({ data }) => console.log(data.n));
  const { state, reload } = useSSEState(['a'], (sum, { data }) => sum + data.n, 0, {
    load: async () => 5,
    key: phase,
  });
  const { data, source, updatedAt } = useLiveQuery({
    load: async () => ({ ready: true }),
    invalidateOn: ['stream.health'],
  });
  const isReady: boolean | undefined = data?.ready;
  const next: number = state + 1;
  return (
    <button type='button' onClick={reload}>
      {next} {health} {isReady} {source} {updatedAt}
    </button>
  );
}

export const page = (
  <SSEProvider options={{ url: '/stream' }} enabled>
    <ConnectionStatus labels={{ open: 'Live' }} />
    <Panel />
    <TaskProgress label='Progress' value={3} id='7' />
    <StatusBadge status='running' id='7' topic='invoice' field='state' />
    <ToastRegion
      type='task.*'
      toast={({ data }) => data.ok ? null : { text: 'failed', tone: 'bad' }}
    />
    {/* @ts-expect-error -- a label is needed */}
    <TaskProgress value={3} />
  </SSEProvider>
);
