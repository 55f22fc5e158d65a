import { createElement } from '../element.js';
import { useRowField } from '../hooks.js';

/** What a badge is given. */
export interface StatusBadgeProps {
  status: string;
  /** The key of a row whose `field` the badge then follows by itself. */
  id?: string;
  /** `task`. */
  topic?: string;
  field?: string;
}

/** The status of a row; with an `id` it keeps itself fresh. */
export function StatusBadge({ status, id, topic, field = 'status' }: StatusBadgeProps) {
  const value = useRowField(id, field, status, topic);
  return <span className='es-badge' data-status={value}>{value}</span>;
}
