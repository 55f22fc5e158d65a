import { createElement } from 'react';
import { useSSEState } from '../src/react/index.js';
import { addToFeed, emptyFeed, type FeedLine } from './feed.js';
import type { Filters } from './filters.js';

const shown = 40;

function Line({ line }: { line: FeedLine }) {
  const [topic, name] = line.type.split(/\.(?=[^.]+$)/);
  return (
    <li>
      <span className='feed-type'>
        <span className='quiet'>{topic}.</span>
        {name}
      </span>
      <span className='feed-text'>{line.text}</span>
      <code className='feed-id'>{line.id}</code>
      <span className='feed-lag'>
        {line.lag === null ? new Date(line.time).toLocaleTimeString() : `${line.lag} ms`}
      </span>
    </li>
  );
}

/** The newest events, with their ids and how long they took to get here. */
export function FeedSection({ filters }: { filters: Filters }) {
  const { state: feed } = useSSEState(['*', 'stream.open'], addToFeed, emptyFeed);
  const lines = feed.lines.filter(({ context, type }) => filters.shows(context, type));
  const lags = feed.lines.slice(0, 50).flatMap(({ lag }) => lag ?? []).sort((a, b) => a - b);
  return (
    <section className='panel feed' aria-labelledby='feed-title'>
      <h2 id='feed-title'>
        Events <span className='count'>{feed.count.toLocaleString('en')}</span>
        {lags.length > 0 && <span className='median'>median lag {lags[lags.length >> 1]} ms</span>}
      </h2>
      {/* A keyboard scrolls what it can focus. */}
      {/* oxlint-disable-next-line no-noninteractive-tabindex */}
      <ol tabIndex={0} aria-label='Newest events'>
        {lines.slice(0, shown).map((line) => <Line key={line.id || line.time} line={line} />)}
      </ol>
    </section>
  );
}
