//! The operations as MCP tools, on standard input and output.

use std::process::ExitCode;
use std::sync::Arc;

use fleet_app::app::App;
use fleet_app::caller::{Caller, Effect};
use fleet_app::op::{ALL, Op, dispatch};
use fleet_core::{Error, Result};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::{Value, json};

/// Serves until standard input closes.
pub(crate) fn run(app: App, caller: Caller) -> Result<ExitCode> {
    let fail = |what: &str, error: &dyn std::fmt::Display| Error::unavailable(format!("{what}: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| fail("no runtime", &error))?;
    runtime.block_on(async {
        let server = Server {
            shared: Arc::new((app, caller)),
        };
        let service = server
            .serve(rmcp::transport::stdio())
            .await
            .map_err(|error| fail("the client did not initialise", &error))?;
        service
            .waiting()
            .await
            .map_err(|error| fail("the server ended", &error))?;
        Ok(ExitCode::SUCCESS)
    })
}

struct Server {
    shared: Arc<(App, Caller)>,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let own = Implementation::new("fleet", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(own)
            .with_instructions("Start, watch, steer and end coding agents, each in a git worktree of its own. Errors carry a kind, a message and a hint.")
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools().map(tool).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(op) = tools().find(|op| op.tool_name() == request.name) else {
            return Err(ErrorData::invalid_params(
                format!("there is no tool `{}`", request.name),
                None,
            ));
        };
        let args = Value::Object(request.arguments.unwrap_or_default());
        let shared = self.shared.clone();
        // Operations wait for processes and files: they run beside the connection, not on it.
        let done = tokio::task::spawn_blocking(move || dispatch(&shared.0, &shared.1, op.name, args, None)).await;
        let done = done.unwrap_or_else(|_| Err(Error::internal(format!("`{}` failed", op.name))));
        Ok(match done {
            Ok(done) if done.failed.is_none() => CallToolResult::structured(done.json),
            Ok(done) => CallToolResult::structured_error(done.json),
            Err(error) => CallToolResult::structured_error(json!({ "error": error })),
        }
        .into())
    }
}

/// The operations that are tools.
pub(crate) fn tools() -> impl Iterator<Item = &'static Op> {
    ALL.iter().filter(|op| op.surfaces.mcp)
}

fn tool(op: &Op) -> Tool {
    let object = |schema: schemars::Schema| match schema.to_value() {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    let mut input = object((op.params)());
    let description = input
        .remove("description")
        .and_then(|text| text.as_str().map(str::to_owned))
        .unwrap_or_else(|| op.about());
    let annotations = ToolAnnotations::from_raw(
        None,
        Some(op.effect == Effect::Read),
        Some(op.effect == Effect::Destroy),
        Some(op.effect == Effect::Read),
        Some(false),
    );
    let mut tool = Tool::new(op.tool_name(), description, Arc::new(input));
    tool.annotations = Some(annotations);
    tool
}
