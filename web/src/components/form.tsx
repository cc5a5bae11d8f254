import type { FormEvent, ReactNode } from "react";

interface Props {
  onSubmit: () => void;
  className?: string;
  children: ReactNode;
}

/** A form that stays on its page. The browser checks the fields first, and says in its own words what is missing. */
export function Form({ onSubmit, className = "form", children }: Props) {
  function submit(event: FormEvent) {
    event.preventDefault();
    onSubmit();
  }
  return (
    <form className={className} onSubmit={submit}>
      {children}
    </form>
  );
}
