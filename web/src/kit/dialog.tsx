// Dialogs and side panels by the platform's own <dialog>: focus, Escape and the backdrop are its.

import { useEffect, useId, useRef, useState, type ReactNode } from "react";
import { Problem } from "./page";

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ReactNode;
  foot?: ReactNode;
  /** A panel at the right edge instead of a box in the middle. */
  drawer?: boolean;
  width?: number;
}

/** Open while it is rendered. */
export function Dialog({ title, onClose, children, foot, drawer = false, width }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const element = dialog.current!;
    const before = document.activeElement;
    element.showModal();
    return () => {
      element.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      className={drawer ? "drawer" : "modal"}
      aria-labelledby={id}
      style={width ? ({ "--width": `${width}px` } as React.CSSProperties) : undefined}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <div className="modal-head">
        <h2 id={id}>{title}</h2>
        <button type="button" className="button small plain" onClick={onClose}>
          Close <kbd aria-hidden="true">Esc</kbd>
        </button>
      </div>
      <div className="modal-body">{children}</div>
      {foot && <div className="modal-foot">{foot}</div>}
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  children?: ReactNode;
  /** The verb on the button. */
  action: string;
  danger?: boolean;
  /** Asks for a reason, which the audit keeps. */
  reason?: "required" | "optional";
  /** What must be typed before, for what cannot be undone. */
  type?: string;
  onConfirm: (reason: string) => Promise<unknown> | void;
  onClose: () => void;
}

/** Asks before something that reaches far. */
export function Confirm({ title, children, action, danger, reason, type, onConfirm, onClose }: ConfirmProps) {
  const [why, setWhy] = useState("");
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const id = useId();
  const missing = (reason === "required" && !why.trim()) || (type !== undefined && typed !== type);
  const submit = async () => {
    setBusy(true);
    setError(undefined);
    try {
      await onConfirm(why.trim());
      onClose();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={title}
      onClose={onClose}
      foot={
        <>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" form={id} className={`button ${danger ? "danger" : "primary"}`} disabled={missing || busy}>
            {action}
          </button>
        </>
      }
    >
      <form
        id={id}
        className="stack tight"
        onSubmit={(event) => {
          event.preventDefault();
          if (!missing && !busy) void submit();
        }}
      >
        {children}
        {reason && (
          <div className="field">
            <label htmlFor={`${id}-why`}>Reason{reason === "optional" ? " (optional)" : ""}</label>
            <input id={`${id}-why`} value={why} onChange={(event) => setWhy(event.target.value)} maxLength={500} required={reason === "required"} autoComplete="off" />
            <span className="help">Kept in the config audit.</span>
          </div>
        )}
        {type !== undefined && (
          <div className="field">
            <label htmlFor={`${id}-type`}>Type {type} to go on</label>
            <input id={`${id}-type`} value={typed} onChange={(event) => setTyped(event.target.value)} autoComplete="off" />
          </div>
        )}
        {error !== undefined && <Problem error={error} />}
      </form>
    </Dialog>
  );
}
