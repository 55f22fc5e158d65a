import { createElement, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import {
  ConnectionStatus,
  ReconnectHint,
  SSEProvider,
  StreamErrorPanel,
  ToastRegion,
} from '../src/react/index.js';
import { BoardSection } from './board-section.js';
import { FeedSection } from './feed-section.js';
import { FilterBar, useFilters } from './filters.js';
import { HealthBadge } from './health.js';
import { PlugSection } from './plug-section.js';
import { PublishForm } from './publish-form.js';

const api = 'api/v1/events';

/** An hour is enough to know every task that is at work, and is read in a moment. */
const since = new Date(Date.now() - 3_600_000).toISOString();
const options = { url: `${api}/stream`, since, gap: 'earliest' as const };

function App() {
  const filters = useFilters();
  return (
    <SSEProvider options={options}>
      <a className='skip' href='#board'>Skip to the tasks</a>
      <header className='bar'>
        <h1>
          <img src='demo/icon.svg' alt='' width='28' height='28' /> Live tasks
        </h1>
        <div className='states'>
          <ConnectionStatus />
          <HealthBadge />
        </div>
      </header>
      <main>
        <div className='notices'>
          <ReconnectHint />
          <StreamErrorPanel />
        </div>
        <FilterBar filters={filters} />
        <BoardSection filters={filters} />
        <div className='side'>
          <PlugSection historyUrl={`${api}/history`} />
          <FeedSection filters={filters} />
          <PublishForm url={api} />
        </div>
      </main>
      <ToastRegion
        type='task.status-changed'
        toast={({ data }) =>
          data.new?.status === 'failed' && {
            text: `${data.new.title} has failed`,
            group: data.new.title,
            tone: 'bad',
          }}
      />
      <ToastRegion
        type='demo.note'
        label='Notes'
        toast={({ data }) => ({ text: String(data.data), tone: 'info' })}
      />
    </SSEProvider>
  );
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
