import { createElement, useContext, useEffect, useState } from 'react';
import { StreamContext } from '../src/react/context.js';
import { type Outage, watchOutages } from './audit.js';

const plural = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`;

function Verdict({ outage }: { outage: Outage }) {
  const { began, ended, missed, lost, doubled } = outage;
  const isGood = lost === 0 && doubled === 0;
  return (
    <li data-good={isGood}>
      <strong>Away for {((ended - began) / 1000).toFixed(1)} s.</strong> {plural(missed, 'event')}
      {' '}
      happened meanwhile: {isGood ? 'all are here, each once.' : `${lost} lost, ${doubled} twice.`}
    </li>
  );
}

/** How to pull the plug, and what came of it. */
export function PlugSection({ historyUrl }: { historyUrl: string }) {
  const client = useContext(StreamContext)!;
  const [outages, setOutages] = useState<Outage[]>([]);
  useEffect(() =>
    watchOutages(client, historyUrl, (outage) => {
      setOutages((before) => [outage, ...before].slice(0, 5));
    }), [client, historyUrl]);
  return (
    <section className='panel plug' aria-labelledby='plug-title'>
      <h2 id='plug-title'>Pull the plug</h2>
      <p>
        Kill the service while tasks are at work:
      </p>
      <pre><code>dev/pull-plug</code></pre>
      <p>
        It comes back after ten seconds. This page then lays what it got beside the log.
      </p>
      <ol className='verdicts' aria-live='polite' aria-label='Interruptions'>
        {outages.map((outage) => <Verdict key={outage.began} outage={outage} />)}
      </ol>
    </section>
  );
}
