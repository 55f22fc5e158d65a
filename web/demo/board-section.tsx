import { createElement, memo } from 'react';
import { StatusBadge, TaskProgress, useSSEState } from '../src/react/index.js';
import type { Filters } from './filters.js';
import { applyEvent, columns, emptyBoard, first, type Task } from './tasks.js';

const shown = 24;
const initial = emptyBoard();

const TaskCard = memo(function TaskCard({ task }: { task: Task }) {
  return (
    <li className='card' data-status={task.status}>
      <div className='card-head'>
        <span className='card-title'>{task.title}</span>
        <StatusBadge status={task.status} />
      </div>
      <TaskProgress label={`Progress of ${task.title}, task ${task.id}`} value={task.progress} />
      <div className='card-foot'>
        <span>#{task.id}</span>
        {task.context && <span className='tag'>{task.context}</span>}
        {task.user_id && <span>{task.user_id}</span>}
      </div>
    </li>
  );
});

/** The tasks, in the columns of what becomes of them. */
export function BoardSection({ filters }: { filters: Filters }) {
  const { state: board } = useSSEState(['task.*'], applyEvent, initial);
  const tasks = [...board.tasks.values()].filter(({ context }) => filters.shows(context));
  if (board.tasks.size === 0) {
    return (
      <section id='board' className='panel' aria-label='Tasks' tabIndex={-1}>
        <p>No task has changed in the last hour. Change one:</p>
        <pre><code>dev/psql -c "INSERT INTO tasks (title, context) VALUES ('My task', 'tour')"</code></pre>
      </section>
    );
  }
  return (
    <section id='board' className='board' aria-label='Tasks' tabIndex={-1}>
      {columns.map(({ title, has, order }) => {
        const inside = tasks.filter(has);
        return (
          <section key={title} className='column' aria-label={title}>
            <h2>
              {title} <span className='count'>{inside.length}</span>
            </h2>
            <ul>
              {first(inside, shown, order).map((task) => <TaskCard key={task.id} task={task} />)}
            </ul>
            {inside.length > shown && <p className='more'>and {inside.length - shown} more</p>}
            {inside.length === 0 && <p className='more'>none</p>}
          </section>
        );
      })}
    </section>
  );
}
