// A form field with its label, help and error tied together for screen readers.

import { useId, type ReactElement, type ReactNode, cloneElement } from "react";

interface ControlProps {
  id?: string;
  "aria-describedby"?: string;
  "aria-invalid"?: boolean;
}

export function Field({ label, help, error, children }: { label: ReactNode; help?: ReactNode; error?: string; children: ReactElement<ControlProps> }) {
  const id = useId();
  const described = [help && `${id}-help`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {cloneElement(children, { id, "aria-describedby": described, "aria-invalid": error ? true : undefined })}
      {error && (
        <span className="error" id={`${id}-error`}>
          {error}
        </span>
      )}
      {help && (
        <span className="help" id={`${id}-help`}>
          {help}
        </span>
      )}
    </div>
  );
}

/** A button that says why it does not work, and can still be reached by keyboard. */
export function ActButton({
  refusal,
  onClick,
  className = "",
  children,
  type = "button",
}: {
  refusal?: string;
  onClick?: () => void;
  className?: string;
  children: ReactNode;
  type?: "button" | "submit";
}) {
  return (
    <button
      type={type}
      className={`button ${className}`}
      aria-disabled={refusal ? true : undefined}
      title={refusal}
      onClick={(event) => {
        if (refusal) event.preventDefault();
        else onClick?.();
      }}
    >
      {children}
      {refusal && <span className="sr">({refusal})</span>}
    </button>
  );
}

/** A control among `.filters`; the label stands above it and is its whole name. */
export function Filter({ label, children }: { label: string; children: ReactElement<ControlProps> }) {
  const id = useId();
  return (
    <div className="filter">
      <label htmlFor={id}>{label}</label>
      {cloneElement(children, { id })}
    </div>
  );
}
