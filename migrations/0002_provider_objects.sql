-- Ids that providers minted for a workspace: who may name them, and with which credential.
CREATE TABLE provider_objects (
    id               uuid PRIMARY KEY,
    workspace_id     uuid NOT NULL REFERENCES workspaces (id),
    provider         text NOT NULL,
    user_variable_id uuid NOT NULL,              -- the own credential; the nil uuid: our account, the global key
    kind             text NOT NULL,              -- response, item, conversation, file, … (proxy/objects/kinds.py)
    object_id        text NOT NULL CHECK (object_id <> '' AND length(object_id) <= 256),
    created_at       timestamptz NOT NULL DEFAULT now(),
    last_used_at     timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz,                -- forgotten after this; NULL: when it is deleted
    deleted_at       timestamptz
);
-- One owner per id of an account, whatever a provider mints or a client makes it mint. The id first: lookups have only that.
CREATE UNIQUE INDEX provider_objects_once ON provider_objects (object_id, kind, provider, user_variable_id);
CREATE INDEX provider_objects_workspace ON provider_objects (workspace_id, id);
CREATE INDEX provider_objects_expiry ON provider_objects (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX provider_objects_deleted ON provider_objects (deleted_at) WHERE deleted_at IS NOT NULL;
