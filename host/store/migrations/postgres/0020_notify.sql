-- Nodes are told of changes that they keep copies of, when these are committed.
CREATE FUNCTION relevo_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'revision' THEN
        PERFORM pg_notify('relevo', NEW.subject);
    ELSE
        PERFORM pg_notify('relevo', TG_ARGV[0]);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER revision_notify AFTER INSERT OR UPDATE ON revision
    FOR EACH ROW EXECUTE FUNCTION relevo_notify();
CREATE TRIGGER webhook_endpoint_notify AFTER INSERT OR UPDATE OR DELETE ON webhook_endpoint
    FOR EACH STATEMENT EXECUTE FUNCTION relevo_notify('webhooks');
