import type { RowEvent, StreamEvent } from '../src/client/index.js';

/** A row of the table `tasks`, as its events carry it. */
export interface Task {
  id: number;
  title: string;
  status: 'pending' | 'running' | 'succeeded' | 'failed' | 'cancelled';
  progress: number;
  message: string | null;
  context: string | null;
  user_id: string | null;
  updated_at: string;
}

/** The tasks that events have made so far. */
export interface Board {
  /** By key. Changed in place: a copy for each of 10,000 events would take longer than the events. */
  readonly tasks: Map<string, Task>;
}

/** A board on which nothing has happened. */
export const emptyBoard = (): Board => ({ tasks: new Map() });

/**
 * What a board is after one more event.
 *
 * An event carries the whole row, so the log folds to the table, wherever one begins to read: a row that
 * was not seen before is there from its next change on.
 */
export function applyEvent(board: Board, { data }: StreamEvent<string, RowEvent<Task>>): Board {
  const { tasks } = board;
  if (data.op === 'truncate') tasks.clear();
  else if (data.op === 'delete' || data.op === 'leave') tasks.delete(data.key!);
  else if (data.new) tasks.set(data.key!, data.new);
  return { tasks };
}

type Order = (one: Task, other: Task) => number;
const newestFirst: Order = (one, other) => other.id - one.id;
const lastDoneFirst: Order = (one, other) => one.updated_at < other.updated_at ? 1 : -1;

/** The columns of the board, what stands in each, and in which order. */
export const columns = [
  { title: 'Waiting', has: (task: Task) => task.status === 'pending', order: newestFirst },
  { title: 'Running', has: (task: Task) => task.status === 'running', order: newestFirst },
  {
    title: 'Done',
    has: (task: Task) => !/pending|running/.test(task.status),
    order: lastDoneFirst,
  },
];

/** The first tasks in an order: of 10,000 only those that are shown are sorted. */
export function first(tasks: readonly Task[], count: number, order: Order): Task[] {
  const found: Task[] = [];
  for (const task of tasks) {
    const last = found[count - 1];
    if (last && order(task, last) > 0) continue;
    const at = found.findIndex((other) => order(task, other) < 0);
    found.splice(at < 0 ? found.length : at, 0, task);
    found.length = Math.min(found.length, count);
  }
  return found;
}
