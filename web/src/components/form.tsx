import type { FormEvent, ReactNode } from "react";

interface Props {
  onSubmit: () => void;
  className?: string;
  children: ReactNode;
}

/** A form that does not reload the page. The browser validates the fields before `onSubmit` is called. */
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
