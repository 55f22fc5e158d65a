import { useId } from 'react';
import { createElement } from '../element.js';
import { useRowField } from '../hooks.js';

/** What a progress bar is given. */
export interface TaskProgressProps {
  label: string;
  value: number;
  max?: number;
  /** The key of a row whose `field` the bar then follows by itself. */
  id?: string;
  /** `task`. */
  topic?: string;
  field?: string;
}

/** How far a task is; with an `id` it keeps itself fresh. */
export function TaskProgress(
  { label, value, max = 100, id, topic, field = 'progress' }: TaskProgressProps,
) {
  const now = useRowField(id, field, value, topic);
  const element = useId();
  return (
    <span className='es-progress'>
      <label htmlFor={element} className='es-unseen'>{label}</label>
      <progress id={element} max={max} value={now} />
      <span aria-hidden='true'>{Math.round(now / max * 100)} %</span>
    </span>
  );
}
