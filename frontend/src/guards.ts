// Questions before something is lost: <form data-confirm="This deletes…"> asks; a button with
// data-enabled-when="NAME" data-reads="#field" stays disabled until the field holds that text.
// The server asks again; this only saves a round trip.

export function guards(root: Document): void {
  root.addEventListener('submit', (event) => {
    const form = event.target as HTMLFormElement;
    const submitter = (event as SubmitEvent).submitter;
    const question = submitter?.dataset['confirm'] ?? form.dataset['confirm'];
    if (question && !window.confirm(question)) event.preventDefault();
  });
  const settle = (): void => {
    for (const button of root.querySelectorAll<HTMLButtonElement>('button[data-enabled-when]')) {
      const field = root.querySelector<HTMLInputElement>(button.dataset['reads'] ?? '');
      button.disabled = field?.value !== button.dataset['enabledWhen'];
    }
  };
  root.addEventListener('input', settle);
  settle();
}
