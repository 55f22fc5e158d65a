import { createElement, useMemo, useState } from 'react';
import { useSSEState } from '../src/react/index.js';

/** What of all that comes is shown. The stream itself stays: to look elsewhere costs no request. */
export interface Filters {
  context: string;
  setContext(context: string): void;
  type: string;
  setType(type: string): void;
  /** Whether something of this context and type is to be shown. */
  shows(context: string | null, type?: string): boolean;
}

const types = [
  ['', 'All events'],
  ['task.created', 'Created'],
  ['task.status-changed', 'Status changed'],
  ['task.progress-updated', 'Progress updated'],
  ['task.deleted', 'Deleted'],
  ['demo.', 'Notes'],
] as const;

/** The filters of the page. */
export function useFilters(): Filters {
  const [context, setContext] = useState('');
  const [type, setType] = useState('');
  return useMemo(() => ({
    context,
    setContext,
    type,
    setType,
    shows: (itsContext, itsType) =>
      (!context || context === itsContext) && (!itsType || itsType.startsWith(type)),
  }), [context, type]);
}

/** The contexts that were seen, in order. */
function addContext(contexts: readonly string[], { data }: { data: any }): readonly string[] {
  const context: unknown = data.new?.context;
  return typeof context !== 'string' || contexts.includes(context)
    ? contexts
    : [...contexts, context].sort().slice(0, 12);
}

const none: readonly string[] = [];

/** Chooses a context and a type of events. */
export function FilterBar({ filters }: { filters: Filters }) {
  const { state: contexts } = useSSEState(['task.*'], addContext, none);
  return (
    <div className='filters'>
      <fieldset>
        <legend>Context</legend>
        {['', ...contexts].map((context) => (
          <label key={context} className='chip'>
            <input
              type='radio'
              name='context'
              checked={filters.context === context}
              onChange={() => filters.setContext(context)}
            />
            <span>{context || 'All'}</span>
          </label>
        ))}
      </fieldset>
      <div className='select'>
        <label htmlFor='event-type'>Events</label>
        <select
          id='event-type'
          value={filters.type}
          onChange={({ target }) => filters.setType(target.value)}
        >
          {types.map(([value, label]) => <option key={value} value={value}>{label}</option>)}
        </select>
      </div>
    </div>
  );
}
