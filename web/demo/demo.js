// The first page: live events and the state of the connection, with nothing but what browsers have.

const url = '/api/v1/events/stream?since=earliest&gap=earliest';
const shown = 60;

const byId = (id) => document.getElementById(id);
const tasks = new Map();
let count = 0;
let serverTimeOffset = 0;
let isLive = false;

function showPhase(phase, text) {
  byId('state').className = phase;
  byId('phase').textContent = text;
}

function cell(row, content) {
  const td = row.insertCell();
  td.append(content);
  return td;
}

function showTask(task) {
  let row = tasks.get(task.id);
  if (!row) {
    row = document.createElement('tr');
    byId('tasks').prepend(row);
    tasks.set(task.id, row);
    byId('no-tasks').hidden = true;
  }
  row.replaceChildren();
  cell(row, task.title);
  cell(row, task.context ?? '');
  const badge = document.createElement('span');
  badge.className = `badge ${task.status}`;
  badge.textContent = task.status;
  cell(row, badge);
  const progress = document.createElement('progress');
  progress.max = 100;
  progress.value = task.progress;
  progress.setAttribute('aria-label', `Progress of ${task.title}`);
  cell(row, progress);
}

function dropTask(id) {
  tasks.get(id)?.remove();
  tasks.delete(id);
}

function dropAllTasks() {
  for (const id of [...tasks.keys()]) dropTask(id);
}

function showEvent(id, event) {
  const item = document.createElement('li');
  const add = (className, text) => {
    const span = document.createElement('span');
    span.className = className;
    span.textContent = text;
    item.append(span);
  };
  const lag = Math.max(0, Date.now() + serverTimeOffset - Date.parse(event.time));
  add('id', id);
  add('what', event.key === undefined ? event.type : `${event.type} ${event.key}`);
  // Of what is replayed the time is of interest, of what is live how late it is.
  add('lag', isLive ? `${Math.round(lag)} ms` : new Date(event.time).toLocaleTimeString());
  const list = byId('events');
  list.prepend(item);
  while (list.childElementCount > shown) list.lastElementChild.remove();
  count += 1;
  byId('count').textContent = count;
}

function receive(message) {
  const event = JSON.parse(message.data);
  showEvent(message.lastEventId, event);
  if (event.topic !== 'task') return;
  if (event.op === 'truncate') dropAllTasks();
  else if (event.op === 'delete' || event.op === 'leave') dropTask(Number(event.key));
  else if (event.new) showTask(event.new);
}

const source = new EventSource(url);
const types = ['created', 'status-changed', 'progress-updated', 'updated', 'deleted', 'entered', 'left', 'truncated'];
for (const type of types) source.addEventListener(`task.${type}`, receive);
source.addEventListener('stream.open', (message) => {
  serverTimeOffset = Date.parse(JSON.parse(message.data).time) - Date.now();
  isLive = false;
  showPhase('open', 'catching up');
});
source.addEventListener('stream.live', () => {
  isLive = true;
  showPhase('open', 'live');
});
source.addEventListener('stream.reset', dropAllTasks);
source.addEventListener('stream.health', (message) => {
  const health = JSON.parse(message.data);
  showPhase(health.ready ? 'open' : '', health.ready ? 'live' : `waiting for ${health.reasons.join(', ')}`);
});
source.addEventListener('error', () => {
  if (source.readyState === EventSource.CLOSED) showPhase('closed', 'closed: reload the page');
  else showPhase('', 'connecting again');
});
