import { createElement, type FormEvent, useState } from 'react';

/** Publishes a note to everyone: it comes back on the stream, here and in every other tab. */
export function PublishForm({ url }: { url: string }) {
  const [text, setText] = useState('');
  const [result, setResult] = useState('');
  const publish = async (event: FormEvent) => {
    event.preventDefault();
    const began = performance.now();
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ type: 'demo.note', audience: ['*'], data: text }),
      });
      const answer = await response.json();
      const took = Math.round(performance.now() - began);
      setResult(response.ok ? `Committed after ${took} ms.` : answer.detail);
      if (response.ok) setText('');
    } catch {
      setResult('The service does not answer.');
    }
  };
  return (
    <section className='panel' aria-labelledby='publish-title'>
      <h2 id='publish-title'>Say something to every tab</h2>
      <form onSubmit={publish} className='publish'>
        <input
          aria-label='Note'
          value={text}
          maxLength={200}
          required
          placeholder='Hello'
          onChange={({ target }) => setText(target.value)}
        />
        <button type='submit'>Publish</button>
      </form>
      <p role='status' className='quiet'>{result}</p>
    </section>
  );
}
